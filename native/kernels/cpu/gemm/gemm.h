#pragma once
// C [rows, cols] = A B + A_tail B_tail with one epilogue: the product behind every linear layer, in all three layouts.
// Layers that share an input or an input gradient are one product of several parts or segments, so that a shared operand
// is packed once and a sum is stored once.
//
// Blocking (after Goto & van de Geijn 2008; Van Zee & van de Geijn 2015, BLIS): B of a superblock of C is packed as panels
// into the workspace by all threads; each then packs as many rows of A as stay in its cache, makes their tiles, and goes on
// to the next rows. Panels are f32, or
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

constexpr int kMaxSegments = 6, kMaxParts = 3;

// C [rows, sum of the parts' cols]: every part sums the segments it takes along, in order. An element is the same as in a
// Problem of its part alone, where both multiply in the same type.
struct JointProblem {
  struct Slice {  // of the inner dimension
    Matrix a;
    Layout a_layout = Layout::outer_rows, b_layout = Layout::outer_rows;
    int64_t inner = 0;
    float a_scale = 1;
  };
  struct Part {  // columns of C
    int64_t cols = 0;
    Matrix b[kMaxSegments];
    bool takes[kMaxSegments] = {};
    Output out;
  };
  int64_t rows = 0;
  int segment_count = 0, part_count = 0;
  Slice segments[kMaxSegments];
  Part parts[kMaxParts];
  int64_t inner_block = 0;

  // The number of a new segment with s.a.
  NFT_MEMBER int add(const Segment& s) {
    segments[segment_count] = {s.a, s.a_layout, s.b_layout, s.inner, s.a_scale};
    return segment_count++;
  }
  NFT_MEMBER void take(int part, int segment, const Matrix& b) {
    parts[part].b[segment] = b;
    parts[part].takes[segment] = true;
  }
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
size_t workspace_bytes(const JointProblem& problem, int threads);
// workspace: 64-byte aligned, as many bytes as the query says for the same threads.
void multiply(const Problem& problem, void* workspace, int threads);
void multiply(const JointProblem& problem, void* workspace, int threads);
// Several products with the same b, each as multiply makes it.
size_t workspace_bytes_each(const Problem* problems, int count, int threads);
void multiply_each(const Problem* problems, int count, void* workspace, int threads);
// Both gradients of a layer, dx = dy weight and dweight = dy^T x, each as multiply makes it.
size_t workspace_bytes_both(const Problem& input, const Problem& weight, int threads);
void multiply_both(const Problem& input, const Problem& weight, void* workspace, int threads);

}  // namespace nft::cpu::NFT_ISA::gemm
