#pragma once
// Copies, sums, casts and random fills. All float types mix; rows may be strided where not said otherwise.
#include "fields.h"

namespace nft {

// y = a + b. y may alias either.
struct Add {
  static constexpr const char* kName = "add";
  Tensor a, b, y;
  template <class V>
  void fields(V& v) {
    v.tensor("a", Access::in, a);
    v.tensor("b", Access::in, b);
    v.tensor("y", Access::out, y);
  }
  void check() const {
    check::float_type(kName, "a", a);
    check::float_type(kName, "b", b);
    check::float_type(kName, "y", y);
    check::same_shape(kName, "b", b, "a", a);
    check::same_shape(kName, "y", y, "a", a);
  }
};

// y = convert(x). x may be quantized (dequantizes); y float. Also the plain copy.
struct Cast {
  static constexpr const char* kName = "cast";
  Tensor x, y;
  template <class V>
  void fields(V& v) {
    v.tensor("x", Access::in, x);
    v.tensor("y", Access::out, y);
  }
  void check() const {
    check::any_weight(kName, "x", x);
    check::float_type(kName, "y", y);
    check::same_shape(kName, "y", y, "x", x);
  }
};

// y = value.
struct Fill {
  static constexpr const char* kName = "fill";
  Tensor y;
  double value = 0;
  template <class V>
  void fields(V& v) {
    v.tensor("y", Access::out, y);
    v.real("value", value);
  }
  void check() const { check::float_type(kName, "y", y); }
};

// y = scale * x. y may alias x.
struct Scale {
  static constexpr const char* kName = "scale";
  Tensor x, y;
  double scale = 1;
  template <class V>
  void fields(V& v) {
    v.tensor("x", Access::in, x);
    v.tensor("y", Access::out, y);
    v.real("scale", scale);
  }
  void check() const {
    check::float_type(kName, "x", x);
    check::float_type(kName, "y", y);
    check::same_shape(kName, "y", y, "x", x);
  }
};

// Inverted dropout (Srivastava et al. 2014): y = x / (1 - p) where uniform(seed, element index) >= p, else 0. [+ residual]
// The mask is never stored: forward and backward pass the same seed. Elements count from row -first_row: x may be rows of a
// larger tensor, whose mask it gets a part of. y may alias x or residual.
struct Dropout {
  static constexpr const char* kName = "dropout";
  Tensor x, residual, y;
  double p = 0;
  int64_t seed = 0, first_row = 0;
  template <class V>
  void fields(V& v) {
    v.tensor("x", Access::in, x);
    v.tensor_optional("residual", Access::in, residual);
    v.tensor("y", Access::out, y);
    v.real("p", p);
    v.integer("seed", seed);
    v.integer("firstRow", first_row);
  }
  void check() const {
    check::float_type(kName, "x", x);
    check::float_type(kName, "y", y);
    check::same_shape(kName, "y", y, "x", x);
    if (residual.present) {
      check::float_type(kName, "residual", residual);
      check::same_shape(kName, "residual", residual, "x", x);
    }
    check::that(p >= 0 && p < 1, kName, "p", "in [0, 1)");
    check::that(first_row >= 0, kName, "firstRow", "at least 0");
  }
};

// y[i] = x[index[i]]: whole rows, byte for byte (also of quantized weights). index [n] i32 in [0, rows of x), else
// ERR_SHAPE.
struct GatherRows {
  static constexpr const char* kName = "gather_rows";
  Tensor x, index, y;
  template <class V>
  void fields(V& v) {
    v.tensor("x", Access::in, x);
    v.tensor("index", Access::in, index);
    v.tensor("y", Access::out, y);
  }
  void check() const {
    check::type(kName, "index", index, DType::i32);
    check::same_type(kName, "y", y, "x", x);
    check::shape(kName, "y", y, index.num_elements(), x.cols());
  }
};

// y = 0, then y[index[i]] = x[i]; index without repeats.
struct ScatterRows {
  static constexpr const char* kName = "scatter_rows";
  Tensor x, index, y;
  template <class V>
  void fields(V& v) {
    v.tensor("x", Access::in, x);
    v.tensor("index", Access::in, index);
    v.tensor("y", Access::out, y);
  }
  void check() const {
    check::type(kName, "index", index, DType::i32);
    check::same_type(kName, "y", y, "x", x);
    check::shape(kName, "x", x, index.num_elements(), y.cols());
  }
};

// y[index[i]] = x[i], the other rows stay as they are; index without repeats.
struct IndexCopy {
  static constexpr const char* kName = "index_copy";
  Tensor x, index, y;
  template <class V>
  void fields(V& v) {
    v.tensor("x", Access::in, x);
    v.tensor("index", Access::in, index);
    v.tensor("y", Access::inout, y);
  }
  void check() const {
    check::type(kName, "index", index, DType::i32);
    check::same_type(kName, "y", y, "x", x);
    check::shape(kName, "x", x, index.num_elements(), y.cols());
  }
};

// kind 0: y[i] = low + (high - low) * uniform(seed, i); kind 1: normal with mean low and standard deviation high
// (Box-Muller),
//   y[i] = low + high * sqrt(-2 ln u) * cos(2 pi v), u = (top 24 bits + 1) / 2^24, v = (next 24 bits) / 2^24 of bits(seed,
//   i).
// Element i depends only on (seed, i).
struct RandomFill {
  static constexpr const char* kName = "random_fill";
  Tensor y;
  double low = 0, high = 1;
  int64_t kind = 0, seed = 0;
  template <class V>
  void fields(V& v) {
    v.tensor("y", Access::out, y);
    v.real("low", low);
    v.real("high", high);
    v.integer("kind", kind);
    v.integer("seed", seed);
  }
  void check() const {
    check::float_type(kName, "y", y);
    check::contiguous(kName, "y", y);
    check::that(kind == 0 || kind == 1, kName, "kind", "0 (uniform) or 1 (normal)");
  }
};

// y = softcap * tanh(x / softcap), Gemma 2's logit soft cap outside the loss. y may alias x.
struct SoftcapForward {
  static constexpr const char* kName = "softcap_forward";
  Tensor x, y;
  double softcap = 1;
  template <class V>
  void fields(V& v) {
    v.tensor("x", Access::in, x);
    v.tensor("y", Access::out, y);
    v.real("softcap", softcap);
  }
  void check() const {
    check::float_type(kName, "x", x);
    check::float_type(kName, "y", y);
    check::same_shape(kName, "y", y, "x", x);
    check::that(softcap > 0, kName, "softcap", "positive");
  }
};

}  // namespace nft
