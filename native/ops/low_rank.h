#pragma once
// What updates of a projected gradient share. A matrix [rows, cols] is projected along its shorter side S by a basis [rank,
// S], whose rows are the directions that are kept: R = G basis^T [rows, rank] where rows >= cols, and back R basis; else R =
// basis G [rank, cols], and back basis^T R. So do the published codes of GaLore and APOLLO.
#include "../updates/all.h"
#include "../updates/int4_groups.h"
#include "state.h"

namespace nft {

struct LowRank {
  int64_t rows, cols, rank;

  NFT_MEMBER LowRank(const Tensor& matrix, int64_t r) : rows(matrix.rows()), cols(matrix.cols()), rank(r) {}
  NFT_MEMBER bool is_right() const { return rows >= cols; }
  NFT_MEMBER int64_t side() const { return is_right() ? cols : rows; }
  NFT_MEMBER int64_t long_side() const { return is_right() ? rows : cols; }
  NFT_MEMBER int64_t low_elements() const { return rank * long_side(); }
  NFT_MEMBER int64_t basis_elements() const { return rank * side(); }
  // R, or a tensor of its shape.
  NFT_MEMBER Tensor low(void* data, DType dtype) const {
    Tensor t;
    t.data = data;
    t.dtype = dtype;
    t.ndim = 2;
    t.dim[0] = is_right() ? rows : rank;
    t.dim[1] = t.row_stride = is_right() ? rank : cols;
    t.present = true;
    return t;
  }
};

// Adam on R (Kingma & Ba 2015, arXiv 1412.6980), with eps where GaLore's code has it, beside the uncorrected root:
//   m = beta1 m + (1 - beta1) R;  v = beta2 v + (1 - beta2) R^2;  N = m / (sqrt(v) + eps);  c = sqrt(1 - beta2^t) / (1 -
//   beta1^t)
// and what every update of a weight takes. R is that of grad_scale * grad.
struct LowRankAdam {
  Tensor state0, state1;  // m and v, of R's shape: f32 or bf16 (f64 on ref), or u8 with absmax, as in UpdateRule
  Tensor absmax0, absmax1;
  int64_t state_bits = 8;
  double learning_rate = 0, weight_decay = 0, grad_scale = 1, beta1 = 0.9, beta2 = 0.999, eps = 1e-6;
  int64_t step = 1;
  int64_t seed = 0;  // as in UpdateRule
  int64_t stochastic_rounding = 0;

  template <class V>
  void fields(V& v) {
    v.tensor("state0", Access::inout, state0);
    v.tensor("state1", Access::inout, state1);
    v.tensor_optional("absmax0", Access::inout, absmax0);
    v.tensor_optional("absmax1", Access::inout, absmax1);
    v.integer("state_bits", state_bits);
    v.real("learning_rate", learning_rate);
    v.real("weight_decay", weight_decay);
    v.real("grad_scale", grad_scale);
    v.real("beta1", beta1);
    v.real("beta2", beta2);
    v.real("eps", eps);
    v.integer("step", step);
    v.integer("seed", seed);
    v.integer("stochastic_rounding", stochastic_rounding);
  }
  void check(const char* op, const LowRank& s) const {
    check::that(step >= 1, op, "step", "1 or more");
    const Tensor low = s.low(nullptr, DType::f32);
    check::state(op, "state0", state0, "absmax0", absmax0, state_bits, low);
    check::state(op, "state1", state1, "absmax1", absmax1, state_bits, low);
  }
  // The rule that takes a tensor of zeros to -c N: native/updates/adamw.h corrects both moments, so eps is scaled along.
  NFT_MEMBER UpdateRule rule() const {
    enum Kind : int64_t {
#define NFT_UPDATE(name, Rule) name,
#include "../updates/updates.def"
#undef NFT_UPDATE
    };
    UpdateRule r;
    r.kind = Kind::adamw;
    r.state0 = state0;
    r.state1 = state1;
    r.absmax0 = absmax0;
    r.absmax1 = absmax1;
    r.state_bits = state_bits;
    r.learning_rate = 1;
    r.grad_scale = grad_scale;
    r.hyper0 = beta1;
    r.hyper1 = beta2;
    r.hyper2 = eps / std::sqrt(1 - std::pow(beta2, static_cast<double>(step)));
    r.step = step;
    return r;
  }
  // c
  NFT_MEMBER double correction() const {
    const double t = static_cast<double>(step);
    return std::sqrt(1 - std::pow(beta2, t)) / (1 - std::pow(beta1, t));
  }
};

namespace check {

inline void low_rank(const char* op, const LowRank& s, const Tensor& grad) {
  accumulator(op, "grad", grad);
  contiguous(op, "grad", grad);
  dims(op, "grad", grad, 2);
  that(s.rank >= 1 && s.rank <= s.side(), op, "rank", "from 1 to the shorter side of the matrix");
}
// [rank, S] f32 (f64 on ref); or u8: codes of updates/int4_groups.h, with the scale and zero point of each group in ranges.
inline void basis(const char* op, const LowRank& s, const Tensor& basis, const Tensor& ranges) {
  contiguous(op, "basis", basis);
  if (basis.present && basis.dtype == DType::u8) {
    shape(op, "basis", basis, updates::int4_bytes(s.basis_elements()));
    accumulator(op, "ranges", ranges);
    shape(op, "ranges", ranges, 2 * updates::int4_groups(s.basis_elements()));
    return;
  }
  accumulator(op, "basis", basis);
  shape(op, "basis", basis, s.rank, s.side());
}

}  // namespace check

}  // namespace nft
