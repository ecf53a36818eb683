#pragma once
// Weights into quantized storage, row by row: no copy of them in a float type exists.
#include "fields.h"

namespace nft {

// y = x in blocks of 64 elements, for y of the types
//   int8    absmax = max |x|, q = round(x * (127 * (1 / absmax))) to even, scale = absmax / 127
//   nf4     code = number of midpoints between neighbours of the codebook that are less than x * (1 / absmax)
//           (QLoRA, Dettmers et al. 2023, arXiv 2305.14314)
//   nf4_dq  as nf4 with the absmax themselves in 8 bits: offset = their mean, scale = largest |absmax - offset| of 256
//           blocks, code = nearest entry of the dynamic map to (absmax - offset) / scale, the lower of two
// all in f32 as bitsandbytes computes it (its CPU code takes a neighbour for a few absmax that lie halfway); native/formats
// states how blocks are laid out. Blocks of zeros stay zeros. x and y [M, K], K a multiple of 64. x must be finite, else
// ERR_SHAPE with the row.
struct Quantize {
  static constexpr const char* kName = "quantize";
  Tensor x, y;
  template <class V>
  void fields(V& v) {
    v.tensor("x", Access::in, x);
    v.tensor("y", Access::out, y);
  }
  void check() const {
    check::float_type(kName, "x", x);
    if (y.dtype != DType::int8 && y.dtype != DType::nf4 && y.dtype != DType::nf4_dq)
      fail_dtype(kName, "y", "int8, nf4 or nf4_dq", y);
    check::contiguous(kName, "y", y);
    check::same_shape(kName, "y", y, "x", x);
  }
};

// y = NF4 blocks out of the parts that bitsandbytes stores apart. codes u8 [M * K / 2]; absmax [M * K / 64]: f32 for y of
// type nf4, u8 codes of the dynamic map for nf4_dq, whose scales are nested [M * K / 64 / 256, rounded up] f32, and offset.
// map [16] and nested_map [256] f32 are what the parts were made with, which must be the codebook of NF4 and the dynamic
// map.
struct PackNf4 {
  static constexpr const char* kName = "pack_nf4";
  Tensor codes, absmax, map, nested, nested_map, y;
  double offset = 0;
  template <class V>
  void fields(V& v) {
    v.tensor("codes", Access::in, codes);
    v.tensor("absmax", Access::in, absmax);
    v.tensor("map", Access::in, map);
    v.tensor_optional("nested", Access::in, nested);
    v.tensor_optional("nested_map", Access::in, nested_map);
    v.tensor("y", Access::out, y);
    v.real("offset", offset);
  }
  void check() const {
    if (y.dtype != DType::nf4 && y.dtype != DType::nf4_dq) fail_dtype(kName, "y", "nf4 or nf4_dq", y);
    check::contiguous(kName, "y", y);
    const int64_t blocks = y.num_elements() / 64;
    check::type(kName, "codes", codes, DType::u8);
    check::shape(kName, "codes", codes, blocks * 32);
    check::type(kName, "absmax", absmax, y.dtype == DType::nf4 ? DType::f32 : DType::u8);
    check::shape(kName, "absmax", absmax, blocks);
    check::type(kName, "map", map, DType::f32);
    check::shape(kName, "map", map, 16);
    check::that(nested.present == nested_map.present, kName, "nested and nested_map", "given together");
    check::that(nested.present == (y.dtype == DType::nf4_dq), kName, "nested", "given for nf4_dq and only for it");
    if (nested.present) {
      check::type(kName, "nested", nested, DType::f32);
      check::shape(kName, "nested", nested, (blocks + 255) / 256);
      check::type(kName, "nested_map", nested_map, DType::f32);
      check::shape(kName, "nested_map", nested_map, 256);
    }
  }
  void check_maps() const;  // contents of the maps: ERR_SHAPE if they are others
};

}  // namespace nft
