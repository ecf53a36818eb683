#pragma once
// C [rows, cols] = A B + A_tail B_tail with one epilogue: the product behind every linear layer, in all three layouts.
//
// Blocking (after Goto & van de Geijn 2008; Van Zee & van de Geijn 2015, BLIS): both operands of a superblock of C are
// packed as panels into the workspace by all threads, then the tiles of the superblock are shared out. Panels are f32, or
// bf16 where the processor has dot products of bf16 pairs and both activations and result, or all operands, are bf16.
// The inner dimension is cut into blocks; block sums are added up in order. An element of C therefore depends only on
// its operands and the length of blocks, never on the number of threads, on superblocks or on its neighbours.
#include "../../../core/dtype.h"
#include "../../../core/tensor.h"
#include "../isa.h"

namespace nft::cpu::NFT_ISA::gemm {

// Rows of elements, stride_bytes apart. With an index, row i of the operand is stored row index[i].
struct Matrix {
  const void* data = nullptr;
  DType dtype = DType::f32;
  int64_t stride_bytes = 0;
  const int32_t* index = nullptr;

  NFT_MEMBER const char* row(int64_t i) const {
    return static_cast<const char*>(data) + (index ? index[i] : i) * stride_bytes;
  }
};
NFT_INLINE Matrix matrix(const Tensor& t, const int32_t* index = nullptr) {
  return {t.data, t.dtype, t.stride_bytes(), index};
}

// Operands by their outer index (row of C for A, column of C for B) and the inner one.
enum class Layout {
  outer_rows,  // stored as [outer, inner]
  inner_rows,  // stored as [inner, outer]
};

struct Segment {
  Matrix a, b;
  Layout a_layout = Layout::outer_rows, b_layout = Layout::outer_rows;
  int64_t inner = 0;
  float a_scale = 1;  // multiplies A while packing
};

// c = (accumulate ? c : 0) + scale * sum [+ bias[col]] [+ residual[row, col]]. residual may be c itself.
// With an index, row i of C is stored row index[i].
struct Output {
  void* data = nullptr;
  DType dtype = DType::f32;
  int64_t stride_bytes = 0;
  const int32_t* index = nullptr;
  float scale = 1;
  bool accumulate = false;
  const void* bias = nullptr;
  DType bias_dtype = DType::f32;
  const void* residual = nullptr;
  DType residual_dtype = DType::f32;
  int64_t residual_stride_bytes = 0;
};

// A: f32, bf16, f16. B: any storage format. C: f32, bf16, f16. The second segment (inner > 0) extends the inner dimension.
struct Problem {
  int64_t rows = 0, cols = 0;
  Segment main, tail;
  Output out;
  int64_t inner_block = 0;  // elements summed before they are added to the others; 0 for the panel's own
};

NFT_INLINE Output output(const Tensor& t) {
  Output o;
  o.data = t.data;
  o.dtype = t.dtype;
  o.stride_bytes = t.stride_bytes();
  return o;
}

// Bytes of workspace, from sizes and types alone; never less for more rows, columns or a longer inner dimension.
size_t workspace_bytes(const Problem& problem, int threads);
// workspace: 64-byte aligned, as many bytes as the query says for the same threads.
void multiply(const Problem& problem, void* workspace, int threads);

}  // namespace nft::cpu::NFT_ISA::gemm
