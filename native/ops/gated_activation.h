#pragma once
// Gated MLP activation (Shazeer 2020, arXiv 2002.05202): y = f(gate) * up.
// kind 0: silu(g) = g * sigmoid(g); 1: GELU, tanh form 0.5 g (1 + tanh(sqrt(2/pi) (g + 0.044715 g^3))); 2: GELU, erf form.
// gate, up, y [N, F] float, rows may be strided.
#include "fields.h"

namespace nft {

struct GatedActivationForward {
  static constexpr const char* kName = "gated_activation_forward";
  Tensor gate, up, y;
  int64_t kind = 0;
  template <class V>
  void fields(V& v) {
    v.tensor("gate", Access::in, gate);
    v.tensor("up", Access::in, up);
    v.tensor("y", Access::out, y);
    v.integer("kind", kind);
  }
  void check() const {
    check::float_type(kName, "gate", gate);
    check::float_type(kName, "up", up);
    check::float_type(kName, "y", y);
    check::same_shape(kName, "up", up, "gate", gate);
    check::same_shape(kName, "y", y, "gate", gate);
    check::that(kind >= 0 && kind <= 2, kName, "kind", "0 (silu), 1 (gelu_tanh) or 2 (gelu)");
  }
};

// dup = dy * f(gate); dgate = dy * up * f'(gate). dgate may alias gate, dup may alias up, y may alias dy. y, where present,
// receives f(gate) * up again, so that the forward need not keep it.
struct GatedActivationBackward {
  static constexpr const char* kName = "gated_activation_backward";
  Tensor dy, gate, up, dgate, dup, y;
  int64_t kind = 0;
  template <class V>
  void fields(V& v) {
    v.tensor("dy", Access::in, dy);
    v.tensor("gate", Access::in, gate);
    v.tensor("up", Access::in, up);
    v.tensor("dgate", Access::out, dgate);
    v.tensor("dup", Access::out, dup);
    v.tensor_optional("y", Access::out, y);
    v.integer("kind", kind);
  }
  void check() const {
    check::float_type(kName, "dy", dy);
    check::float_type(kName, "gate", gate);
    check::float_type(kName, "up", up);
    check::float_type(kName, "dgate", dgate);
    check::float_type(kName, "dup", dup);
    check::same_shape(kName, "gate", gate, "dy", dy);
    check::same_shape(kName, "up", up, "dy", dy);
    check::same_shape(kName, "dgate", dgate, "dy", dy);
    check::same_shape(kName, "dup", dup, "dy", dy);
    if (y.present) {
      check::float_type(kName, "y", y);
      check::same_shape(kName, "y", y, "dy", dy);
    }
    check::that(kind >= 0 && kind <= 2, kName, "kind", "0 (silu), 1 (gelu_tanh) or 2 (gelu)");
  }
};

}  // namespace nft
