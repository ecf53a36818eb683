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

Segment segment(const Tensor& a, const Tensor& b, Layout a_layout, Layout b_layout, int64_t inner, double a_scale = 1) {
  return {matrix(a), matrix(b), a_layout, b_layout, inner, static_cast<float>(a_scale)};
}

Problem problem(const LinearForward& a) {
  Problem p;
  p.rows = a.x.rows();
  p.cols = a.weight.rows();
  p.main = segment(a.x, a.weight, Layout::outer_rows, Layout::outer_rows, a.x.cols());
  if (a.tail_x.present)
    p.tail = segment(a.tail_x, a.tail_weight, Layout::outer_rows, Layout::outer_rows, a.tail_x.cols(), a.tail_scale);
  p.out = output(a.y);
  if (a.bias.present) {
    p.out.bias = a.bias.data;
    p.out.bias_dtype = a.bias.dtype;
  }
  if (a.residual.present) {
    p.out.residual = a.residual.data;
    p.out.residual_dtype = a.residual.dtype;
    p.out.residual_stride_bytes = a.residual.stride_bytes();
  }
  return p;
}

Problem problem(const LinearBackwardInput& a) {
  Problem p;
  p.rows = a.dx.rows();
  p.cols = a.dx.cols();
  p.main = segment(a.dy, a.weight, Layout::outer_rows, Layout::inner_rows, a.dy.cols());
  if (a.tail_dy.present)
    p.tail = segment(a.tail_dy, a.tail_weight, Layout::outer_rows, Layout::inner_rows, a.tail_dy.cols(), a.tail_scale);
  p.out = output(a.dx);
  p.out.accumulate = a.accumulate != 0;
  return p;
}

JointProblem problem(const LinearForwardShared& a) {
  JointProblem j;
  j.rows = a.x.rows();
  for (int i = 0; i < a.kLayers; ++i) {
    if (!a.layers[i].weight.present) continue;
    const Problem p = problem(a.alone(i));
    const int part = j.part_count++;
    if (part == 0) j.add(p.main);
    j.parts[part].cols = p.cols;
    j.parts[part].out = p.out;
    j.take(part, 0, p.main.b);
    if (p.tail.inner > 0) j.take(part, j.add(p.tail), p.tail.b);
  }
  return j;
}

JointProblem problem(const LinearBackwardInputShared& a) {
  JointProblem j;
  j.rows = a.dx.rows();
  j.part_count = 1;
  j.parts[0].cols = a.dx.cols();
  j.parts[0].out = output(a.dx);
  for (int i = 0; i < a.kLayers; ++i) {
    if (!a.layers[i].weight.present) continue;
    const Problem p = problem(a.alone(i));
    j.take(0, j.add(p.main), p.main.b);
    if (p.tail.inner > 0) j.take(0, j.add(p.tail), p.tail.b);
  }
  return j;
}

Problem problem(const LinearBackwardWeight& a) {
  Problem p;
  p.rows = a.dy.cols();
  p.cols = a.x.cols();
  p.main = segment(a.dy, a.x, Layout::inner_rows, Layout::inner_rows, a.x.rows());
  p.out = output(a.dweight);
  p.out.scale = static_cast<float>(a.scale);
  p.out.accumulate = a.accumulate != 0;
  return p;
}

void require_types(const LinearForward& a, const ForwardNames& n) {
  require_float(n.op, "x", a.x);
  require_weight(n.op, n.weight, a.weight);
  require_float(n.op, n.y, a.y);
  require_float(n.op, n.tail_x, a.tail_x);
  require_float(n.op, n.tail_weight, a.tail_weight);
  require_float(n.op, n.bias, a.bias);
  require_float(n.op, "residual", a.residual);
}

void require_types(const LinearBackwardInput& a, const BackwardInputNames& n) {
  require_float(n.op, n.dy, a.dy);
  require_weight(n.op, n.weight, a.weight);
  require_float(n.op, "dx", a.dx);
  require_float(n.op, n.tail_dy, a.tail_dy);
  require_float(n.op, n.tail_weight, a.tail_weight);
}

}  // namespace

size_t linear_forward_workspace(const LinearForward& a, const Context& c) {
  const Problem p = problem(a);
  const size_t few = matvec_workspace_bytes(p);
  if (p.rows <= kMatvecRows) return few;
  const size_t many = workspace_bytes(p, c.threads);
  return many > few ? many : few;
}

void linear_forward(const LinearForward& a, Context& c) {
  require_types(a, kForwardNames);
  const Problem p = problem(a);
  if (p.rows == 0) return;
  if (p.rows <= kMatvecRows)
    matvec(&p, 1, c.workspace, c.threads);
  else
    multiply(p, c.workspace, c.threads);
}

size_t linear_backward_input_workspace(const LinearBackwardInput& a, const Context& c) {
  return workspace_bytes(problem(a), c.threads);
}

void linear_backward_input(const LinearBackwardInput& a, Context& c) {
  require_types(a, kBackwardInputNames);
  multiply(problem(a), c.workspace, c.threads);
}

size_t linear_forward_shared_workspace(const LinearForwardShared& a, const Context& c) {
  size_t few = 0;
  for (int i = 0; i < a.kLayers; ++i)
    if (a.layers[i].weight.present) few += matvec_workspace_bytes(problem(a.alone(i)));
  if (a.x.rows() <= kMatvecRows) return few;
  const size_t many = workspace_bytes(problem(a), c.threads);
  return many > few ? many : few;
}

void linear_forward_shared(const LinearForwardShared& a, Context& c) {
  static_assert(LinearForwardShared::kLayers <= kMaxParts);
  Problem alone[LinearForwardShared::kLayers];
  int count = 0;
  for (int i = 0; i < a.kLayers; ++i) {
    if (!a.layers[i].weight.present) continue;
    const LinearForward layer = a.alone(i);
    require_types(layer, kForwardSharedNames[i]);
    alone[count++] = problem(layer);
  }
  if (a.x.rows() == 0) return;
  if (a.x.rows() <= kMatvecRows)
    matvec(alone, count, c.workspace, c.threads);
  else
    multiply(problem(a), c.workspace, c.threads);
}

size_t linear_backward_input_shared_workspace(const LinearBackwardInputShared& a, const Context& c) {
  return workspace_bytes(problem(a), c.threads);
}

void linear_backward_input_shared(const LinearBackwardInputShared& a, Context& c) {
  for (int i = 0; i < a.kLayers; ++i)
    if (a.layers[i].weight.present) require_types(a.alone(i), kBackwardInputSharedNames[i]);
  multiply(problem(a), c.workspace, c.threads);
}

size_t linear_backward_weight_workspace(const LinearBackwardWeight& a, const Context& c) {
  return workspace_bytes(problem(a), c.threads);
}

void linear_backward_weight(const LinearBackwardWeight& a, Context& c) {
  require_float(a.kName, "dy", a.dy);
  require_float(a.kName, "x", a.x);
  require_f32(a.kName, "dweight", a.dweight);
  multiply(problem(a), c.workspace, c.threads);
}

// The layers that are there; their number.
static int problems_of(const LinearBackwardWeightShared& a, Problem (&problems)[kSharedLayers]) {
  int count = 0;
  for (int i = 0; i < a.kLayers; ++i)
    if (a.layers[i].dy.present) problems[count++] = problem(a.alone(i));
  return count;
}

size_t linear_backward_weight_shared_workspace(const LinearBackwardWeightShared& a, const Context& c) {
  Problem problems[kSharedLayers];
  const int count = problems_of(a, problems);
  return workspace_bytes_each(problems, count, c.threads);
}

void linear_backward_weight_shared(const LinearBackwardWeightShared& a, Context& c) {
  require_float(a.kName, "x", a.x);
  for (int i = 0; i < a.kLayers; ++i) {
    if (!a.layers[i].dy.present) continue;
    require_float(a.kName, kBackwardWeightSharedNames[i].dy, a.layers[i].dy);
    require_f32(a.kName, kBackwardWeightSharedNames[i].dweight, a.layers[i].dweight);
  }
  Problem problems[kSharedLayers];
  const int count = problems_of(a, problems);
  multiply_each(problems, count, c.workspace, c.threads);
}

size_t linear_backward_workspace(const LinearBackward& a, const Context& c) {
  return workspace_bytes_both(problem(a.input()), problem(a.gradient()), c.threads);
}

void linear_backward(const LinearBackward& a, Context& c) {
  require_types(a.input(), {a.kName, "dy", "weight", "", ""});
  require_float(a.kName, "x", a.x);
  require_f32(a.kName, "dweight", a.dweight);
  multiply_both(problem(a.input()), problem(a.gradient()), c.workspace, c.threads);
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
