#pragma once
// Projections of gradients: see ops/low_rank.h.
#include "../../core/context.h"
#include "../../ops/low_rank.h"
#include "gemm/gemm.h"
#include "rows.h"
#include "update.h"
#include "weight_tile.h"

namespace nft::cpu::NFT_ISA {

// Takes pieces of memory one after the other, 64-byte aligned; with nullptr it only counts.
class Pieces {
 public:
  NFT_MEMBER explicit Pieces(void* memory) : begin_(static_cast<char*>(memory)), at_(begin_) {}
  template <class T>
  NFT_MEMBER T* take(int64_t count) {
    char* taken = at_;
    at_ += ceil_div(count * static_cast<int64_t>(sizeof(T)), 64) * 64;
    return reinterpret_cast<T*>(taken);
  }
  NFT_MEMBER char* rest() const { return at_; }
  NFT_MEMBER size_t bytes() const { return static_cast<size_t>(at_ - begin_); }

 private:
  char *begin_, *at_;
};

// C [rows, cols] = A B of f32 matrices with dense rows.
struct Operand {
  const float* data;
  int64_t stride;  // elements
  gemm::Layout layout;
};
NFT_INLINE gemm::Problem f32_product(float* c, int64_t rows, int64_t cols, int64_t inner, const Operand& a,
                                     const Operand& b) {
  gemm::Problem p;
  p.rows = rows;
  p.cols = cols;
  p.main = {{a.data, DType::f32, a.stride * 4, nullptr},
            {b.data, DType::f32, b.stride * 4, nullptr},
            a.layout,
            b.layout,
            inner,
            1};
  p.out.data = c;
  p.out.stride_bytes = cols * 4;
  return p;
}
NFT_INLINE size_t largest(size_t a, size_t b) { return a > b ? a : b; }

// low = R of grad [rows, cols]; basis [rank, S].
NFT_INLINE gemm::Problem project(const LowRank& s, const float* grad, const float* basis, float* low) {
  using gemm::Layout;
  if (s.is_right())
    return f32_product(low, s.rows, s.rank, s.cols, {grad, s.cols, Layout::outer_rows}, {basis, s.cols, Layout::outer_rows});
  return f32_product(low, s.rank, s.cols, s.rows, {basis, s.rows, Layout::outer_rows}, {grad, s.cols, Layout::inner_rows});
}

// Rows [first, first + count) of back(low).
NFT_INLINE gemm::Problem project_back(const LowRank& s, const float* low, const float* basis, int64_t first, int64_t count,
                                      float* out) {
  using gemm::Layout;
  if (s.is_right())
    return f32_product(out, count, s.cols, s.rank, {low + first * s.rank, s.rank, Layout::outer_rows},
                       {basis, s.cols, Layout::inner_rows});
  return f32_product(out, count, s.cols, s.rank, {basis + first, s.rows, Layout::inner_rows},
                     {low, s.cols, Layout::inner_rows});
}

// f(first, count) for groups of a basis in 4 bits, in parallel.
template <class F>
void for_int4_groups(int64_t elements, F&& f) {
  constexpr int64_t kStep = kItemElements / updates::kInt4Group * updates::kInt4Group;
  ThreadPool::instance().run(ceil_div(elements, kStep), [&](int64_t item, int) {
    const int64_t end = min64(elements, (item + 1) * kStep);
    for (int64_t i = item * kStep; i < end; i += updates::kInt4Group) f(i, min64(updates::kInt4Group, end - i));
  });
}

// The basis as f32, which takes `memory` where it is stored in 4 bits.
static inline const float* load_basis(const LowRank& s, const Tensor& basis, const Tensor& ranges, float* memory) {
  if (basis.dtype != DType::u8) return basis.as<float>();
  for_int4_groups(s.basis_elements(), [&](int64_t first, int64_t n) {
    updates::decode_int4(basis.as<uint8_t>() + first / 2, ranges.as<float>() + first / updates::kInt4Group * 2, n,
                         memory + first);
  });
  return memory;
}

static inline void require_low_rank(const char* op, const Tensor& weight, const Tensor& grad, const LowRank& s,
                                    const LowRankAdam& adam) {
  require_float(op, "weight", weight);
  require_f32(op, "grad", grad);
  require_update(op, adam.rule(), s.low(nullptr, DType::f32));
}

// n = -c N; the moments advance.
static inline void adam_step(const LowRank& s, const LowRankAdam& adam, const float* low, float* n) {
  const int64_t elements = s.low_elements();
  std::memset(n, 0, static_cast<size_t>(elements) * 4);
  update_range(adam.rule(), s.low(n, DType::f32), 0, elements, low);
}

}  // namespace nft::cpu::NFT_ISA
