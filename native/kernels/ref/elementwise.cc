#include "../../ops/elementwise.h"

#include <cmath>
#include <cstring>

#include "../../core/context.h"
#include "../../core/rng.h"
#include "access.h"
#include "normal.h"

namespace nft::ref {

void add(const Add& a, Context&) {
  for (int64_t i = 0; i < a.y.num_elements(); ++i) set(a.y, i, at(a.a, i) + at(a.b, i));
}

void cast(const Cast& a, Context&) {
  for (int64_t i = 0; i < a.y.num_elements(); ++i) set(a.y, i, at(a.x, i));
}

void fill(const Fill& a, Context&) {
  for (int64_t i = 0; i < a.y.num_elements(); ++i) set(a.y, i, a.value);
}

void scale(const Scale& a, Context&) {
  for (int64_t i = 0; i < a.y.num_elements(); ++i) set(a.y, i, a.scale * at(a.x, i));
}

void softcap_forward(const SoftcapForward& a, Context&) {
  for (int64_t i = 0; i < a.y.num_elements(); ++i) set(a.y, i, a.softcap * std::tanh(at(a.x, i) / a.softcap));
}

void dropout(const Dropout& a, Context&) {
  const int64_t first = a.first_row * a.x.cols();
  for (int64_t i = 0; i < a.y.num_elements(); ++i) {
    const bool kept = rng::uniform(static_cast<uint64_t>(a.seed), static_cast<uint64_t>(first + i)) >= a.p;
    set(a.y, i, (kept ? at(a.x, i) / (1 - a.p) : 0) + (a.residual.present ? at(a.residual, i) : 0));
  }
}

void random_fill(const RandomFill& a, Context&) {
  const uint64_t key = static_cast<uint64_t>(a.seed);
  for (uint64_t i = 0; i < static_cast<uint64_t>(a.y.num_elements()); ++i) {
    double value;
    if (a.kind == 0) {
      value = a.low + (a.high - a.low) * rng::uniform(key, i);
    } else {
      value = a.low + a.high * normal(key, i);
    }
    set(a.y, static_cast<int64_t>(i), value);
  }
}

void gather_rows(const GatherRows& a, Context&) {
  check::ids(a.kName, "index", a.index, a.x.rows());
  for (int64_t i = 0; i < a.y.rows(); ++i)
    std::memcpy(a.y.row(i), a.x.row(index_at(a.index, i)), static_cast<size_t>(a.x.row_bytes()));
}

void scatter_rows(const ScatterRows& a, Context&) {
  check::ids(a.kName, "index", a.index, a.y.rows());
  for (int64_t i = 0; i < a.y.rows(); ++i) std::memset(a.y.row(i), 0, static_cast<size_t>(a.y.row_bytes()));
  for (int64_t i = 0; i < a.x.rows(); ++i)
    std::memcpy(a.y.row(index_at(a.index, i)), a.x.row(i), static_cast<size_t>(a.x.row_bytes()));
}

void index_copy(const IndexCopy& a, Context&) {
  check::ids(a.kName, "index", a.index, a.y.rows());
  for (int64_t i = 0; i < a.x.rows(); ++i)
    std::memcpy(a.y.row(index_at(a.index, i)), a.x.row(i), static_cast<size_t>(a.x.row_bytes()));
}

}  // namespace nft::ref
