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

// Eigenvalues of the tridiagonal matrix to d; every rotation turns two rows of z along.
void diagonalize(double* z, int64_t n, double* d, double* e) {
  for (int64_t i = 1; i < n; ++i) e[i - 1] = e[i];
  e[n - 1] = 0;
  for (int64_t l = 0; l < n; ++l) {
    for (int attempt = 0; attempt < 60; ++attempt) {
      int64_t m = l;
      while (m + 1 < n) {
        const double size = __builtin_fabs(d[m]) + __builtin_fabs(d[m + 1]);
        if (__builtin_fabs(e[m]) <= 2.3e-16 * size) break;
        ++m;
      }
      if (m == l) break;
      double g = (d[l + 1] - d[l]) / (2 * e[l]), r = __builtin_sqrt(g * g + 1);
      g = d[m] - d[l] + e[l] / (g + (g < 0 ? -r : r));
      double s = 1, c = 1, p = 0;
      int64_t i = m - 1;
      for (; i >= l; --i) {
        const double f = s * e[i], b = c * e[i];
        r = __builtin_sqrt(f * f + g * g);
        e[i + 1] = r;
        if (r == 0) {
          d[i + 1] -= p;
          e[m] = 0;
          break;
        }
        s = f / r;
        c = g / r;
        g = d[i + 1] - p;
        r = (d[i] - g) * s + 2 * c * b;
        p = s * r;
        d[i + 1] = g + p;
        g = c * r - b;
        double *x = z + i * n, *y = x + n;
        for (int64_t k = 0; k < n; ++k) {
          const double t = y[k];
          y[k] = s * x[k] + c * t;
          x[k] = c * x[k] - s * t;
        }
      }
      if (i >= l) continue;
      d[l] -= p;
      e[l] = g;
      e[m] = 0;
    }
  }
}

}  // namespace

void symmetric_eigen(double* a, int64_t n, double* values, double* scratch) {
  if (n == 0) return;
  tridiagonalize(a, n, values, scratch);
  expand_reflectors(a, n, scratch + n);
  diagonalize(a, n, values, scratch);
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
