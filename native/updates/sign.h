#pragma once
#include "../core/inline.h"

namespace nft::updates {

// 1, -1, or x itself where it is 0 or NaN.
template <class T>
NFT_INLINE T sign(T x) {
  return x > 0 ? T(1) : x < 0 ? T(-1) : x;
}

}  // namespace nft::updates
