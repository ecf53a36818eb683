#include "../../ops/linear.h"
#include "../../core/context.h"
#include "access.h"
#include "update.h"

namespace nft::ref {

void linear_forward(const LinearForward& a, Context&) {
  const Matrix x = load(a.x), w = load(a.weight);
  Matrix y(x.rows, w.rows);
  for (int64_t n = 0; n < x.rows; ++n)
    for (int64_t m = 0; m < w.rows; ++m)
      for (int64_t k = 0; k < x.cols; ++k) y(n, m) += x(n, k) * w(m, k);
  if (a.tail_x.present) {
    const Matrix tx = load(a.tail_x), tw = load(a.tail_weight);
    for (int64_t n = 0; n < x.rows; ++n)
      for (int64_t m = 0; m < w.rows; ++m)
        for (int64_t r = 0; r < tx.cols; ++r) y(n, m) += a.tail_scale * tx(n, r) * tw(m, r);
  }
  for (int64_t n = 0; n < x.rows; ++n)
    for (int64_t m = 0; m < w.rows; ++m) {
      if (a.bias.present) y(n, m) += at(a.bias, m);
      if (a.residual.present) y(n, m) += at(a.residual, n, m);
    }
  store(a.y, y);
}

void linear_forward_shared(const LinearForwardShared& a, Context& c) {
  for (int i = 0; i < a.kLayers; ++i)
    if (a.layers[i].weight.present) linear_forward(a.alone(i), c);
}

// dy weight [+ tail_scale * tail_dy tail_weight]
static Matrix input_gradient(const LinearBackwardInput& a) {
  const Matrix dy = load(a.dy), w = load(a.weight);
  Matrix dx(dy.rows, w.cols);
  for (int64_t n = 0; n < dy.rows; ++n)
    for (int64_t m = 0; m < w.rows; ++m)
      for (int64_t k = 0; k < w.cols; ++k) dx(n, k) += dy(n, m) * w(m, k);
  if (a.tail_dy.present) {
    const Matrix tdy = load(a.tail_dy), tw = load(a.tail_weight);
    for (int64_t n = 0; n < dy.rows; ++n)
      for (int64_t r = 0; r < tw.rows; ++r)
        for (int64_t k = 0; k < w.cols; ++k) dx(n, k) += a.tail_scale * tdy(n, r) * tw(r, k);
  }
  return dx;
}

void linear_backward_input(const LinearBackwardInput& a, Context&) {
  Matrix dx = input_gradient(a);
  if (a.accumulate)
    for (int64_t n = 0; n < dx.rows; ++n)
      for (int64_t k = 0; k < dx.cols; ++k) dx(n, k) += at(a.dx, n, k);
  store(a.dx, dx);
}

void linear_backward_input_shared(const LinearBackwardInputShared& a, Context&) {
  Matrix sum(a.dx.rows(), a.dx.cols());
  for (int i = 0; i < a.kLayers; ++i) {
    if (!a.layers[i].weight.present) continue;
    const Matrix dx = input_gradient(a.alone(i));
    for (int64_t n = 0; n < dx.rows; ++n)
      for (int64_t k = 0; k < dx.cols; ++k) sum(n, k) += dx(n, k);
  }
  store(a.dx, sum);
}

// scale * dy^T x
static Matrix weight_gradient(const Tensor& dy_tensor, const Tensor& x_tensor, double scale) {
  const Matrix dy = load(dy_tensor), x = load(x_tensor);
  Matrix dw(dy.cols, x.cols);
  for (int64_t n = 0; n < x.rows; ++n)
    for (int64_t m = 0; m < dy.cols; ++m)
      for (int64_t k = 0; k < x.cols; ++k) dw(m, k) += dy(n, m) * x(n, k);
  for (double& v : dw.data) v *= scale;
  return dw;
}

void linear_backward_weight(const LinearBackwardWeight& a, Context&) {
  Matrix dw = weight_gradient(a.dy, a.x, a.scale);
  if (a.accumulate)
    for (int64_t m = 0; m < dw.rows; ++m)
      for (int64_t k = 0; k < dw.cols; ++k) dw(m, k) += at(a.dweight, m, k);
  store(a.dweight, dw);
}

void linear_backward_weight_shared(const LinearBackwardWeightShared& a, Context& c) {
  for (int i = 0; i < a.kLayers; ++i)
    if (a.layers[i].dy.present) linear_backward_weight(a.alone(i), c);
}

void linear_backward(const LinearBackward& a, Context& c) {
  linear_backward_input(a.input(), c);
  linear_backward_weight(a.gradient(), c);
}

void linear_backward_weight_update(const LinearBackwardWeightUpdate& a, Context&) {
  update(a.rule, a.weight, weight_gradient(a.dy, a.x, a.scale));
}

void linear_backward_bias(const LinearBackwardBias& a, Context&) {
  for (int64_t m = 0; m < a.dy.cols(); ++m) {
    double sum = 0;
    for (int64_t n = 0; n < a.dy.rows(); ++n) sum += at(a.dy, n, m);
    set(a.dbias, m, at(a.dbias, m) + sum);
  }
}

}  // namespace nft::ref
