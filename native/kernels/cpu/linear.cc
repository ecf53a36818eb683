// Linear layers: see ops/linear.h.
#include "../../ops/linear.h"

#include "../../core/context.h"
#include "../../core/thread_pool.h"
#include "gemm/gemm.h"
#include "gemm/matvec.h"
#include "gemm/storage.h"

namespace nft::cpu::NFT_ISA {

using namespace gemm;

namespace {

int64_t optional_cols(const Tensor& t) { return t.present ? t.cols() : 0; }

}  // namespace

size_t linear_forward_workspace(const LinearForward& a, const Context& c) {
  const int64_t inner = a.x.cols() + optional_cols(a.tail_x);
  const size_t few = matvec_workspace_bytes(inner);
  if (a.x.rows() <= kMatvecRows) return few;
  const size_t many = workspace_bytes(a.x.rows(), a.weight.rows(), inner, c.threads);
  return many > few ? many : few;
}

void linear_forward(const LinearForward& a, Context& c) {
  require_float(a.kName, "x", a.x);
  require_weight(a.kName, "weight", a.weight);
  require_float(a.kName, "y", a.y);
  Problem p;
  p.rows = a.x.rows();
  p.cols = a.weight.rows();
  p.main.a = matrix(a.x);
  p.main.b = matrix(a.weight);
  p.main.inner = a.x.cols();
  if (a.tail_x.present) {
    require_float(a.kName, "tail_x", a.tail_x);
    require_float(a.kName, "tail_weight", a.tail_weight);
    p.tail.a = matrix(a.tail_x);
    p.tail.b = matrix(a.tail_weight);
    p.tail.inner = a.tail_x.cols();
    p.tail.a_scale = static_cast<float>(a.tail_scale);
  }
  p.out = output(a.y);
  if (a.bias.present) {
    require_float(a.kName, "bias", a.bias);
    p.out.bias = a.bias.data;
    p.out.bias_dtype = a.bias.dtype;
  }
  if (a.residual.present) {
    require_float(a.kName, "residual", a.residual);
    p.out.residual = a.residual.data;
    p.out.residual_dtype = a.residual.dtype;
    p.out.residual_stride_bytes = a.residual.stride_bytes();
  }
  if (p.rows <= kMatvecRows)
    matvec(p, c.workspace, c.threads);
  else
    multiply(p, c.workspace, c.threads);
}

size_t linear_backward_input_workspace(const LinearBackwardInput& a, const Context& c) {
  return workspace_bytes(a.dx.rows(), a.dx.cols(), a.dy.cols() + optional_cols(a.tail_dy), c.threads);
}

void linear_backward_input(const LinearBackwardInput& a, Context& c) {
  require_float(a.kName, "dy", a.dy);
  require_weight(a.kName, "weight", a.weight);
  require_float(a.kName, "dx", a.dx);
  Problem p;
  p.rows = a.dx.rows();
  p.cols = a.dx.cols();
  p.main.a = matrix(a.dy);
  p.main.b = matrix(a.weight);
  p.main.b_layout = Layout::inner_rows;
  p.main.inner = a.dy.cols();
  if (a.tail_dy.present) {
    require_float(a.kName, "tail_dy", a.tail_dy);
    require_float(a.kName, "tail_weight", a.tail_weight);
    p.tail.a = matrix(a.tail_dy);
    p.tail.b = matrix(a.tail_weight);
    p.tail.b_layout = Layout::inner_rows;
    p.tail.inner = a.tail_dy.cols();
    p.tail.a_scale = static_cast<float>(a.tail_scale);
  }
  p.out = output(a.dx);
  p.out.accumulate = a.accumulate != 0;
  multiply(p, c.workspace, c.threads);
}

size_t linear_backward_weight_workspace(const LinearBackwardWeight& a, const Context& c) {
  return workspace_bytes(a.dy.cols(), a.x.cols(), a.x.rows(), c.threads);
}

void linear_backward_weight(const LinearBackwardWeight& a, Context& c) {
  require_float(a.kName, "dy", a.dy);
  require_float(a.kName, "x", a.x);
  require_f32(a.kName, "dweight", a.dweight);
  Problem p;
  p.rows = a.dy.cols();
  p.cols = a.x.cols();
  p.main = {matrix(a.dy), matrix(a.x), Layout::inner_rows, Layout::inner_rows, a.x.rows(), 1};
  p.out = output(a.dweight);
  p.out.scale = static_cast<float>(a.scale);
  p.out.accumulate = a.accumulate != 0;
  multiply(p, c.workspace, c.threads);
}

constexpr int64_t kBiasBlock = 256;

// One column vector of sums per work item, in the order of the rows, in blocks that bound the rounding error.
void linear_backward_bias(const LinearBackwardBias& a, Context&) {
  require_float(a.kName, "dy", a.dy);
  require_f32(a.kName, "dbias", a.dbias);
  const int64_t rows = a.dy.rows(), cols = a.dy.cols();
  ThreadPool::instance().run((cols + kLanes - 1) / kLanes, [&](int64_t item, int) {
    const int64_t col = item * kLanes;
    const int count = cols - col < kLanes ? static_cast<int>(cols - col) : kLanes;
    float* dbias = a.dbias.as<float>() + col;
    f32v total = F32::load(dbias, count);
    for (int64_t n0 = 0; n0 < rows; n0 += kBiasBlock) {
      f32v sum = zero();
      for (int64_t n = n0; n < rows && n < n0 + kBiasBlock; ++n) sum += load_float(a.dy.dtype, a.dy.row(n), col, count);
      total += sum;
    }
    F32::store(dbias, total, count);
  });
}

}  // namespace nft::cpu::NFT_ISA
