// APOLLO's update of one matrix, two passes over its gradient after the projection: see ops/apollo_update.h.
#include "../../ops/apollo_update.h"

#include "low_rank.h"
#include "normal.h"
#include "squares.h"

namespace nft::cpu::NFT_ISA {

namespace {

struct Scratch {
  float *basis, *low, *step;     // step = -c N
  double *low_sums, *step_sums;  // squares along the projected side
  float* factor;                 // u = factor * grad: one number a row or a column
  double* u_squares;             // of each row
  char* rest;
  size_t bytes;
};

Scratch scratch(const ApolloUpdate& a, void* memory) {
  const LowRank s = a.sizes();
  Pieces pieces(memory);
  Scratch t;
  t.basis = pieces.take<float>(s.basis_elements());
  t.low = pieces.take<float>(s.low_elements());
  t.step = pieces.take<float>(s.low_elements());
  t.low_sums = pieces.take<double>(s.long_side());
  t.step_sums = pieces.take<double>(s.long_side());
  t.factor = pieces.take<float>(s.long_side());
  t.u_squares = pieces.take<double>(s.rows);
  t.rest = pieces.rest();
  t.bytes = pieces.bytes();
  return t;
}

void fill_basis(const ApolloUpdate& a, const LowRank& s, float* basis) {
  const uint64_t seed = static_cast<uint64_t>(a.basis_seed);
  const double deviation = 1 / __builtin_sqrt(static_cast<double>(s.rank));
  ThreadPool::instance().run(ceil_div(s.basis_elements(), kItemElements), [&](int64_t item, int) {
    for (int64_t i = item * kItemElements; i < min64(s.basis_elements(), (item + 1) * kItemElements); ++i)
      basis[i] = static_cast<float>(deviation * normal(rng::bits(seed, static_cast<uint64_t>(i))));
  });
}

// Sums of the squares of x, which has R's shape, along the projected side.
void sum_squares(const LowRank& s, const float* x, double* sums) {
  const int64_t count = s.long_side(), step = max64(1, kItemElements / s.rank);
  ThreadPool::instance().run(ceil_div(count, step), [&](int64_t item, int) {
    const int64_t begin = item * step, end = min64(count, begin + step);
    for (int64_t i = begin; i < end; ++i) {
      if (!s.is_right()) {
        sums[i] = 0;
        continue;
      }
      Squares squares;
      squares.add(x + i * s.rank, s.rank);
      sums[i] = squares.total();
    }
    for (int64_t r = 0; !s.is_right() && r < s.rank; ++r)
      for (int64_t j = begin; j < end; ++j) {
        const double v = x[r * count + j];
        sums[j] += v * v;
      }
  });
}

void find_factors(const ApolloUpdate& a, const LowRank& s, const Scratch& t) {
  sum_squares(s, t.low, t.low_sums);
  sum_squares(s, t.step, t.step_sums);
  const int64_t count = s.long_side();
  if (a.tensor_wise) {
    for (int64_t i = 1; i < count; ++i) {
      t.low_sums[0] += t.low_sums[i];
      t.step_sums[0] += t.step_sums[i];
    }
  }
  const double scale = __builtin_fabs(a.adam.grad_scale), c = a.adam.correction();
  for (int64_t i = 0; i < count; ++i) {
    const int64_t k = a.tensor_wise ? 0 : i;
    const double adam = __builtin_sqrt(t.step_sums[k]) / c, plain = scale * __builtin_sqrt(t.low_sums[k]);
    t.factor[i] = static_cast<float>(a.adam.grad_scale * adam / (plain + a.kEps));
  }
}

// f(row, first, count, u) for tiles of u = factor * grad; `first` counts elements of the matrix.
template <class F>
void for_tiles(const ApolloUpdate& a, const LowRank& s, const float* factor, F&& f) {
  const int64_t item_rows = max64(1, kItemElements / s.cols);
  ThreadPool::instance().run(ceil_div(s.rows, item_rows), [&](int64_t item, int) {
    alignas(64) float u[kTile];
    for (int64_t i = item * item_rows; i < min64(s.rows, (item + 1) * item_rows); ++i)
      for (int64_t begin = 0; begin < s.cols; begin += kTile) {
        const int64_t n = min64(kTile, s.cols - begin), first = i * s.cols + begin;
        const float* g = a.grad.as<float>() + first;
        if (s.is_right())
          for (int64_t j = 0; j < n; ++j) u[j] = factor[i] * g[j];
        else
          for (int64_t j = 0; j < n; ++j) u[j] = factor[begin + j] * g[j];
        f(i, first, n, u);
      }
  });
}

}  // namespace

size_t apollo_update_workspace(const ApolloUpdate& a, const Context& c) {
  const gemm::Problem p = project(a.sizes(), nullptr, nullptr, nullptr);
  return scratch(a, nullptr).bytes + gemm::workspace_bytes(p, c.threads);
}

void apollo_update(const ApolloUpdate& a, Context& c) {
  const LowRank s = a.sizes();
  require_low_rank(a.kName, a.weight, a.grad, s, a.adam);
  require_f32(a.kName, "previous", a.previous);
  const Scratch t = scratch(a, c.workspace);
  fill_basis(a, s, t.basis);
  gemm::multiply(project(s, a.grad.as<float>(), t.basis, t.low), t.rest, c.threads);
  adam_step(s, a.adam, t.low, t.step);
  find_factors(a, s, t);

  for_tiles(a, s, t.factor, [&](int64_t row, int64_t first, int64_t n, const float* u) {
    Squares squares;
    squares.add(u, n);
    t.u_squares[row] = (first == row * s.cols ? 0 : t.u_squares[row]) + squares.total();
  });
  double sum = 0;
  for (int64_t i = 0; i < s.rows; ++i) sum += t.u_squares[i];
  float& previous = *a.previous.as<float>();
  const double norm = __builtin_sqrt(sum), growth = norm / (static_cast<double>(previous) + a.kEps);
  const double limit = previous > 0 && growth > a.kGrowth ? growth / a.kGrowth : 1;
  previous = static_cast<float>(norm / limit);

  const double rate = a.adam.learning_rate;
  const float step = static_cast<float>(rate * a.adam.correction() * __builtin_sqrt(a.scale) / limit);
  const float decay = static_cast<float>(1 - rate * a.adam.weight_decay);
  for_tiles(a, s, t.factor, [&](int64_t, int64_t first, int64_t n, const float* u) {
    alignas(64) float w[kTile];
    load_weight(a.weight, first, n, w);
    for (int64_t j = 0; j < n; ++j) w[j] = (w[j] - step * u[j]) * decay;
    store_weight(a.weight, a.adam.stochastic_rounding, a.adam.seed, first, n, w);
  });
}

}  // namespace nft::cpu::NFT_ISA
