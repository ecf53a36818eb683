#include "symmetric_eigen.h"

#include "rows.h"

namespace nft::cpu::NFT_ISA {

namespace {

// Eight partial sums everywhere, so that every instruction set adds in the same order.
double dot(const double* x, const double* y, int64_t n) {
  double lanes[8] = {};
  int64_t i = 0;
  for (; i + 8 <= n; i += 8)
    for (int k = 0; k < 8; ++k) lanes[k] += x[i + k] * y[i + k];
  for (; i < n; ++i) lanes[0] += x[i] * y[i];
  return ((lanes[0] + lanes[4]) + (lanes[1] + lanes[5])) + ((lanes[2] + lanes[6]) + (lanes[3] + lanes[7]));
}

void add_scaled(double* y, double factor, const double* x, int64_t n) {
  for (int64_t i = 0; i < n; ++i) y[i] += factor * x[i];
}

// a = H T H^T with tridiagonal T: its diagonal to d, what is beside it to e[1 ...]. The reflector 1 - v v^T that clears row
// k of a stays in that row, columns k + 1 ...
void tridiagonalize(double* a, int64_t n, double* d, double* e) {
  for (int64_t k = 0; k + 1 < n; ++k) {
    double* v = a + k * n + k + 1;
    const int64_t m = n - k - 1;
    const double norm = __builtin_sqrt(dot(v, v, m));
    d[k] = a[k * n + k];
    if (m == 1 || norm == 0) {
      e[k + 1] = v[0];
      for (int64_t i = 0; i < m; ++i) v[i] = 0;
      continue;
    }
    e[k + 1] = v[0] > 0 ? -norm : norm;
    // v^T v = 2
    v[0] -= e[k + 1];
    const double scale = 1 / __builtin_sqrt(norm * (norm + __builtin_fabs(v[0] + e[k + 1])));
    for (int64_t i = 0; i < m; ++i) v[i] *= scale;
    // B = (1 - v v^T) A (1 - v v^T) = A - v w^T - w v^T with w = A v - (v^T A v / 2) v.
    double* w = d + k + 1;  // not yet in use
    for (int64_t i = 0; i < m; ++i) w[i] = dot(a + (k + 1 + i) * n + k + 1, v, m);
    add_scaled(w, -dot(v, w, m) / 2, v, m);
    for (int64_t i = 0; i < m; ++i) {
      double* row = a + (k + 1 + i) * n + k + 1;
      for (int64_t j = 0; j < m; ++j) row[j] -= v[i] * w[j] + w[i] * v[j];
    }
  }
  d[n - 1] = a[n * n - 1];
}

// Rows of the transposed product of the reflectors, in place.
void expand_reflectors(double* a, int64_t n, double* w) {
  for (int64_t k = n - 1; k >= 0; --k) {
    // Rows and columns after k hold the product of the later reflectors; this one is applied to its columns.
    double* v = a + k * n + k + 1;
    const int64_t m = n - k - 1;
    for (int64_t i = 0; i < m; ++i) w[i] = v[i];
    for (int64_t i = 0; i < m; ++i) {
      double* row = a + (k + 1 + i) * n;
      add_scaled(row + k + 1, -dot(row + k + 1, w, m), w, m);
      row[k] = 0;
      v[i] = 0;
    }
    a[k * n + k] = 1;
  }
}

// One sweep of the implicit symmetric QR algorithm (Golub & Van Loan 2013, section 8.3.5) over the rows [first, last] of the
// tridiagonal matrix, with Wilkinson's shift. beside[i] lies between diagonal[i] and diagonal[i + 1].
void sweep(double* z, int64_t n, double* diagonal, double* beside, int64_t first, int64_t last) {
  const double half = (diagonal[last - 1] - diagonal[last]) / 2, corner = beside[last - 1];
  const double root = __builtin_sqrt(half * half + corner * corner);
  const double shift = diagonal[last] - corner * corner / (half + __builtin_copysign(root, half));
  double kept = diagonal[first] - shift, cleared = beside[first];  // that each rotation acts on
  for (int64_t k = first; k < last; ++k) {
    const double length = __builtin_sqrt(kept * kept + cleared * cleared);
    const double cosine = length == 0 ? 1 : kept / length, sine = length == 0 ? 0 : cleared / length;
    if (k > first) beside[k - 1] = length;
    const double upper = diagonal[k], lower = diagonal[k + 1], between = beside[k];
    const double cross = 2 * cosine * sine * between;
    diagonal[k] = cosine * cosine * upper + cross + sine * sine * lower;
    diagonal[k + 1] = sine * sine * upper - cross + cosine * cosine * lower;
    beside[k] = cosine * sine * (lower - upper) + (cosine * cosine - sine * sine) * between;
    if (k + 1 < last) {  // the rotation makes an element outside the three diagonals: the next one clears it
      kept = beside[k];
      cleared = sine * beside[k + 1];
      beside[k + 1] *= cosine;
    }
    double *x = z + k * n, *y = x + n;
    for (int64_t i = 0; i < n; ++i) {
      const double turned = cosine * x[i] + sine * y[i];
      y[i] = cosine * y[i] - sine * x[i];
      x[i] = turned;
    }
  }
}

// Eigenvalues of the tridiagonal matrix to its diagonal; every rotation turns two rows of z along. beside: see sweep.
void diagonalize(double* z, int64_t n, double* diagonal, double* beside) {
  constexpr double kRounding = 2.3e-16;
  int64_t sweeps = 60 * n;  // about two an eigenvalue are needed
  for (int64_t last = n - 1; last > 0 && sweeps > 0; --sweeps) {
    const auto is_apart = [&](int64_t i) {
      return __builtin_fabs(beside[i]) <= kRounding * (__builtin_fabs(diagonal[i]) + __builtin_fabs(diagonal[i + 1]));
    };
    while (last > 0 && is_apart(last - 1)) --last;
    int64_t first = last;
    while (first > 0 && !is_apart(first - 1)) --first;
    if (first < last) sweep(z, n, diagonal, beside, first, last);
  }
}

}  // namespace

void symmetric_eigen(double* a, int64_t n, double* values, double* scratch) {
  if (n == 0) return;
  tridiagonalize(a, n, values, scratch);
  expand_reflectors(a, n, scratch + n);
  diagonalize(a, n, values, scratch + 1);
  for (int64_t i = 0; i < n; ++i) {
    int64_t most = i;
    for (int64_t j = i + 1; j < n; ++j) most = values[j] > values[most] ? j : most;
    if (most == i) continue;
    const double value = values[i];
    values[i] = values[most];
    values[most] = value;
    for (int64_t k = 0; k < n; ++k) {
      const double t = a[i * n + k];
      a[i * n + k] = a[most * n + k];
      a[most * n + k] = t;
    }
  }
}

}  // namespace nft::cpu::NFT_ISA
