#include "../../ops/muon_update.h"

#include <cmath>

#include "../../core/context.h"
#include "matrix.h"
#include "states.h"
#include "update.h"

namespace nft::ref {

void muon_update(const MuonUpdate& a, Context&) {
  Matrix x = load(a.grad);
  const int64_t elements = x.rows * x.cols;
  std::vector<double> m = load_state(a.state0, a.absmax0, a.state_bits, 0, elements);
  double squares = 0;
  for (int64_t i = 0; i < elements; ++i) {
    const double g = a.grad_scale * x[i];
    x[i] = g;
    if (a.state0.present) {
      double& mi = m[static_cast<size_t>(i)];
      mi += (1 - a.beta) * (g - mi);
      x[i] = a.nesterov ? g + a.beta * (mi - g) : mi;
    }
    squares += x[i] * x[i];
  }
  if (a.state0.present) store_state(a.state0, a.absmax0, a.state_bits, 0, m);
  for (int64_t i = 0; i < elements; ++i) x[i] /= std::sqrt(squares) + a.eps;

  const bool tall = x.rows > x.cols;
  if (tall) x = transposed(x);
  for (int64_t k = 0; k < a.iterations; ++k) {
    const Matrix gram = product(x, transposed(x));
    Matrix polynomial = product(gram, gram);
    for (int64_t i = 0; i < polynomial.rows * polynomial.cols; ++i)
      polynomial[i] = MuonUpdate::kB * gram[i] + MuonUpdate::kC * polynomial[i];
    const Matrix rest = product(polynomial, x);
    for (int64_t i = 0; i < elements; ++i) x[i] = MuonUpdate::kA * x[i] + rest[i];
  }
  if (tall) x = transposed(x);

  const double decay = 1 - a.learning_rate * a.weight_decay;
  for (int64_t i = 0; i < elements; ++i)
    store_weight(a.weight, a.stochastic_rounding, a.seed, i, at(a.weight, i) * decay - a.learning_rate * a.scale * x[i]);
}

}  // namespace nft::ref
