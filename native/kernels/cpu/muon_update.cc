// Muon's update of one matrix, three matrix products an iteration: see ops/muon_update.h.
#include "../../ops/muon_update.h"

#include "../../core/context.h"
#include "gemm/gemm.h"
#include "rows.h"
#include "squares.h"
#include "state_tile.h"
#include "weight_tile.h"

namespace nft::cpu::NFT_ISA {

using namespace gemm;

namespace {

// A matrix in the workspace.
struct Buffer {
  char* data;
  DType dtype;
  int64_t rows, cols;

  int64_t item_bytes() const { return dtype == DType::f32 ? 4 : 2; }
  char* at(int64_t i) const { return data + i * item_bytes(); }
  Matrix matrix() const { return {data, dtype, cols * item_bytes(), nullptr}; }
};

struct Scratch {
  Buffer x, next, gram, polynomial;
  double* squares;  // of each item
  char* rest;
  int64_t bytes;
};

Scratch scratch(const MuonUpdate& a, void* memory) {
  const int64_t rows = a.weight.rows(), cols = a.weight.cols(), side = min64(rows, cols);
  const DType dtype = a.in_bf16 ? DType::bf16 : DType::f32;
  char* begin = static_cast<char*>(memory);
  char* p = begin;
  auto take = [&](int64_t bytes) {
    char* taken = p;
    p += ceil_div(bytes, 64) * 64;
    return taken;
  };
  auto buffer = [&](int64_t r, int64_t c) { return Buffer{take(r * c * (a.in_bf16 ? 2 : 4)), dtype, r, c}; };
  Scratch s;
  s.x = buffer(rows, cols);
  s.next = buffer(rows, cols);
  s.gram = buffer(side, side);
  s.polynomial = buffer(side, side);
  s.squares = reinterpret_cast<double*>(take(ceil_div(rows * cols, kItemElements) * 8));
  s.rest = p;
  s.bytes = p - begin;
  return s;
}

Problem product(const Buffer& c, const Buffer& a, Layout a_layout, const Buffer& b, Layout b_layout, double scale = 1) {
  Problem p;
  p.rows = c.rows;
  p.cols = c.cols;
  p.main = {a.matrix(), b.matrix(), a_layout, b_layout, a_layout == Layout::outer_rows ? a.cols : a.rows, 1};
  p.out.data = c.data;
  p.out.dtype = c.dtype;
  p.out.stride_bytes = c.matrix().stride_bytes;
  p.out.scale = static_cast<float>(scale);
  return p;
}

// b A of the iteration. Its square is b^2 A A, so that one product with itself as the residual gives b A + c A A.
Problem gram_problem(const Scratch& s) {
  const Layout layout = s.x.rows > s.x.cols ? Layout::inner_rows : Layout::outer_rows;
  return product(s.gram, s.x, layout, s.x, layout, MuonUpdate::kB);
}
Problem polynomial_problem(const Scratch& s) {
  Problem p = product(s.polynomial, s.gram, Layout::outer_rows, s.gram, Layout::inner_rows,
                      MuonUpdate::kC / (MuonUpdate::kB * MuonUpdate::kB));
  p.out.residual = s.gram.data;
  p.out.residual_dtype = s.gram.dtype;
  p.out.residual_stride_bytes = s.gram.matrix().stride_bytes;
  return p;
}
Problem next_problem(const Scratch& s) {
  if (s.x.rows > s.x.cols) return product(s.next, s.x, Layout::outer_rows, s.polynomial, Layout::inner_rows);
  return product(s.next, s.polynomial, Layout::outer_rows, s.x, Layout::inner_rows);
}

// f(item, first, count) for tiles of the elements, items in parallel.
template <class F>
void for_element_tiles(int64_t elements, F&& f) {
  ThreadPool::instance().run(ceil_div(elements, kItemElements), [&](int64_t item, int) {
    const int64_t end = min64(elements, (item + 1) * kItemElements);
    for (int64_t i = item * kItemElements; i < end; i += kTile) f(item, i, min64(kTile, end - i));
  });
}

// The momentum, and in x what is to be made orthogonal; returns its norm.
double advance_momentum(const MuonUpdate& a, const Scratch& s) {
  const int64_t elements = a.weight.num_elements();
  const float scale = static_cast<float>(a.grad_scale), beta = static_cast<float>(a.beta);
  const float share = static_cast<float>(1 - a.beta);
  for_element_tiles(elements, [&](int64_t item, int64_t first, int64_t n) {
    alignas(64) float u[kTile], m[kTile];
    const float* g = a.grad.as<float>() + first;
    for (int64_t i = 0; i < n; ++i) u[i] = scale * g[i];
    if (a.state0.present) {
      load_state(a.state0, a.absmax0, a.state_bits, 0, first, n, m);
      for (int64_t i = 0; i < n; ++i) m[i] += share * (u[i] - m[i]);
      for (int64_t i = 0; i < n; ++i) u[i] = a.nesterov ? u[i] + beta * (m[i] - u[i]) : m[i];
      store_state(a.state0, a.absmax0, a.state_bits, 0, first, n, m);
    }
    Squares squares;
    squares.add(u, n);
    s.squares[item] = (first % kItemElements == 0 ? 0 : s.squares[item]) + squares.total();
    store_f32(s.x.dtype, u, s.x.at(first), n);
  });
  double sum = 0;
  for (int64_t i = 0; i < ceil_div(elements, kItemElements); ++i) sum += s.squares[i];
  return __builtin_sqrt(sum);
}

void scale_elements(const Buffer& x, double factor) {
  const float f = static_cast<float>(factor);
  for_element_tiles(x.rows * x.cols, [&](int64_t, int64_t first, int64_t n) {
    alignas(64) float tile[kTile];
    load_f32(x.dtype, x.at(first), tile, n);
    for (int64_t i = 0; i < n; ++i) tile[i] *= f;
    store_f32(x.dtype, tile, x.at(first), n);
  });
}

void add_to_diagonal(const Buffer& x, double value) {
  for (int64_t i = 0; i < x.rows; ++i) {
    float y;
    load_f32(x.dtype, x.at(i * x.cols + i), &y, 1);
    y += static_cast<float>(value);
    store_f32(x.dtype, &y, x.at(i * x.cols + i), 1);
  }
}

}  // namespace

size_t muon_update_workspace(const MuonUpdate& a, const Context& c) {
  const Scratch s = scratch(a, nullptr);
  const size_t gram = workspace_bytes(gram_problem(s), c.threads), next = workspace_bytes(next_problem(s), c.threads);
  const size_t polynomial = workspace_bytes(polynomial_problem(s), c.threads);
  const size_t most = gram > next ? gram : next;
  return static_cast<size_t>(s.bytes) + (most > polynomial ? most : polynomial);
}

void muon_update(const MuonUpdate& a, Context& c) {
  require_float(a.kName, "weight", a.weight);
  require_f32(a.kName, "grad", a.grad);
  if (!updates::is_coded(a.state0)) require_float(a.kName, "state0", a.state0);
  require_f32(a.kName, "absmax0", a.absmax0);
  const int64_t elements = a.weight.num_elements();
  if (elements == 0) return;
  Scratch s = scratch(a, c.workspace);
  scale_elements(s.x, 1 / (advance_momentum(a, s) + a.eps));
  for (int64_t k = 0; k < a.iterations; ++k) {
    multiply(gram_problem(s), s.rest, c.threads);
    multiply(polynomial_problem(s), s.rest, c.threads);
    add_to_diagonal(s.polynomial, MuonUpdate::kA);
    multiply(next_problem(s), s.rest, c.threads);
    char* last = s.x.data;
    s.x.data = s.next.data;
    s.next.data = last;
  }

  const float decay = static_cast<float>(1 - a.learning_rate * a.weight_decay);
  const float step = static_cast<float>(a.learning_rate * a.scale);
  for_element_tiles(elements, [&](int64_t, int64_t first, int64_t n) {
    alignas(64) float w[kTile], x[kTile];
    load_weight(a.weight, first, n, w);
    load_f32(s.x.dtype, s.x.at(first), x, n);
    for (int64_t i = 0; i < n; ++i) w[i] = w[i] * decay - step * x[i];
    store_weight(a.weight, a.stochastic_rounding, a.seed, first, n, w);
  });
}

}  // namespace nft::cpu::NFT_ISA
