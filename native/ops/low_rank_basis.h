#pragma once
// basis = the `rank` leading singular vectors of grad along its shorter side, as rows, in descending order, in the steps at
// which it is due; else nothing (GaLore, Zhao et al. 2024, arXiv 2403.03507, algorithm 2). The largest element of each row
// is positive, the first of equals; a singular vector has no sign of its own.
//   due at step 1 and where (step - 1 + phase) mod gap = 0
// grad [M, K] f32 (f64 on ref); basis: check::basis of low_rank.h. Q-GaLore (Zhang et al. 2024, arXiv 2407.08296, 3.2) grows
// the gap of a matrix whose subspace moves little; then schedule [2 + 5] holds the gap (0 before step 1), the number of
// similarities and these, and leading [S] the first row of the basis before it was rounded to 4 bits:
//   s = cosine of the new and the old first row, kept with the four before it; gap *= 2 where all five are there and mean(s)
//   >= 0.4
// The cpu device computes a randomized decomposition (Halko, Martinsson & Tropp 2011, arXiv 0909.4061, algorithms 4.4
// and 5.1): rank + 10 directions of random numbers of the seed, two power iterations.
#include "low_rank.h"

namespace nft {

struct LowRankBasis {
  static constexpr const char* kName = "low_rank_basis";
  static constexpr int64_t kOversampling = 10, kPowerIterations = 2;
  static constexpr int64_t kSimilarities = 5, kScheduleSize = 2 + kSimilarities;
  static constexpr double kSimilar = 0.4, kLongestGap = 1 << 24;
  Tensor grad, basis, ranges, schedule, leading;
  int64_t rank = 1, step = 1, gap = 1, phase = 0, seed = 0;
  template <class V>
  void fields(V& v) {
    v.tensor("grad", Access::in, grad);
    v.tensor("basis", Access::inout, basis);
    v.tensor_optional("ranges", Access::inout, ranges);
    v.tensor_optional("schedule", Access::inout, schedule);
    v.tensor_optional("leading", Access::inout, leading);
    v.integer("rank", rank);
    v.integer("step", step);
    v.integer("gap", gap);
    v.integer("phase", phase);
    v.integer("seed", seed);
  }
  NFT_MEMBER LowRank sizes() const { return {grad, rank}; }
  void check() const {
    check::low_rank(kName, sizes(), grad);
    check::basis(kName, sizes(), basis, ranges);
    check::that(step >= 1, kName, "step", "1 or more");
    check::that(gap >= 1, kName, "gap", "1 or more");
    check::that(phase >= 0, kName, "phase", "0 or more");
    if (!schedule.present) return;
    check::accumulator(kName, "schedule", schedule);
    check::shape(kName, "schedule", schedule, kScheduleSize);
    check::accumulator(kName, "leading", leading);
    check::shape(kName, "leading", leading, sizes().side());
  }
  // Whether the basis is due, with the gap of the schedule where there is one.
  template <class T>
  NFT_MEMBER bool is_due() const {
    int64_t every = gap;
    if (schedule.present && schedule.as<T>()[0] > 0) every = static_cast<int64_t>(schedule.as<T>()[0]);
    return step == 1 || (step - 1 + phase) % every == 0;
  }
  // Notes the first row of a new basis.
  template <class T>
  NFT_MEMBER void advance_schedule(const T* row) const {
    if (!schedule.present) return;
    T *s = schedule.as<T>(), *old = leading.as<T>();
    const int64_t n = sizes().side();
    if (s[0] > 0) {
      double dot = 0, a = 0, b = 0;
      for (int64_t i = 0; i < n; ++i) {
        dot += static_cast<double>(row[i]) * static_cast<double>(old[i]);
        a += static_cast<double>(row[i]) * static_cast<double>(row[i]);
        b += static_cast<double>(old[i]) * static_cast<double>(old[i]);
      }
      const bool full = s[1] >= kSimilarities;
      if (full)
        for (int64_t i = 2; i < kScheduleSize - 1; ++i) s[i] = s[i + 1];
      else
        s[1] += 1;
      s[1 + static_cast<int64_t>(s[1])] = static_cast<T>(dot / std::sqrt(a * b));
      double sum = 0;
      for (int64_t i = 2; i < kScheduleSize; ++i) sum += s[i];
      if (s[1] >= kSimilarities && sum / kSimilarities >= kSimilar && s[0] < kLongestGap) s[0] *= 2;
    } else {
      s[0] = static_cast<T>(gap);
    }
    for (int64_t i = 0; i < n; ++i) old[i] = row[i];
  }
};

}  // namespace nft
