#pragma once
// Draws one token id per row of logits. temperature 0: the largest logit (the lowest id among equals). Otherwise softmax of
// logits / temperature, cut to the top_k largest (0 = all), then to the smallest set with probability >= top_p (1 = all;
// Holtzman et al. 2019, arXiv 1904.09751), drawn with uniform(seed, row).
// Tokens are taken in the order of falling logits, equals by rising id; probabilities are normalised again after each cut;
// the token drawn is the first whose cumulative probability is above uniform(seed, row). logits [N, V] float; token [N] i32.
// A row with NaN, or whose largest logit is infinite, gives ERR_NONFINITE_LOSS.
#include "fields.h"

namespace nft {

struct SampleToken {
  static constexpr const char* kName = "sample_token";
  Tensor logits, token;
  double temperature = 0, top_p = 1;
  int64_t top_k = 0, seed = 0;
  template <class V>
  void fields(V& v) {
    v.tensor("logits", Access::in, logits);
    v.tensor("token", Access::out, token);
    v.real("temperature", temperature);
    v.real("top_p", top_p);
    v.integer("top_k", top_k);
    v.integer("seed", seed);
  }
  void check() const {
    check::float_type(kName, "logits", logits);
    check::type(kName, "token", token, DType::i32);
    check::shape(kName, "token", token, logits.rows());
    check::that(logits.cols() > 0, kName, "logits", "at least one column wide");
    check::that(temperature >= 0, kName, "temperature", "0 or more");
    check::that(top_p > 0 && top_p <= 1, kName, "top_p", "in (0, 1]");
    check::that(top_k >= 0, kName, "top_k", "0 or more");
  }
};

}  // namespace nft
