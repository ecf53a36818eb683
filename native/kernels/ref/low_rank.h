#pragma once
// Projections of gradients: see ops/low_rank.h.
#include "../../ops/low_rank.h"
#include "matrix.h"
#include "update.h"

namespace nft::ref {

inline Matrix load_basis(const LowRank& s, const Tensor& basis, const Tensor& ranges) {
  if (basis.dtype != DType::u8) return load(basis);
  Matrix m(s.rank, s.side());
  for (int64_t i = 0; i < s.basis_elements(); i += updates::kInt4Group) {
    const int64_t group = i / updates::kInt4Group, n = std::min(updates::kInt4Group, s.basis_elements() - i);
    const double range[2] = {at(ranges, 2 * group), at(ranges, 2 * group + 1)};
    updates::decode_int4(basis.as<uint8_t>() + i / 2, range, n, &m[i]);
  }
  return m;
}

inline Matrix project(const LowRank& s, const Matrix& grad, const Matrix& basis) {
  return s.is_right() ? product(grad, transposed(basis)) : product(basis, grad);
}

inline Matrix project_back(const LowRank& s, const Matrix& low, const Matrix& basis) {
  return s.is_right() ? product(low, basis) : product(transposed(basis), low);
}

// c N; the moments advance.
inline Matrix adam_step(const LowRank& s, const LowRankAdam& adam, const Matrix& r) {
  Matrix n(r.rows, r.cols);
  update(adam.rule(), s.low(n.data.data(), DType::f64), r);
  for (double& x : n.data) x = -x;
  return n;
}

}  // namespace nft::ref
