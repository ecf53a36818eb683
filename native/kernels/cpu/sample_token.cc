#include "../../ops/sample_token.h"

#include "../../core/context.h"
#include "../../core/rng.h"
#include "rows.h"
#include "simd_math.h"

namespace nft::cpu::NFT_ISA {

namespace {

// One row of logits as a heap of token ids, the likeliest on top: tokens come out in the order of falling logits, lower ids
// first among equals, and only as many are sorted as the draw needs.
struct Ranking {
  const float* logits;
  int32_t* heap;
  int64_t size = 0;

  bool before(int32_t a, int32_t b) const { return logits[a] > logits[b] || (logits[a] == logits[b] && a < b); }

  void sink(int64_t at) {
    const int32_t id = heap[at];
    for (int64_t child; (child = 2 * at + 1) < size; at = child) {
      if (child + 1 < size && before(heap[child + 1], heap[child])) ++child;
      if (before(id, heap[child])) break;
      heap[at] = heap[child];
    }
    heap[at] = id;
  }
  void build(int64_t count) {
    size = count;
    for (int64_t i = 0; i < count; ++i) heap[i] = static_cast<int32_t>(i);
    for (int64_t i = count / 2 - 1; i >= 0; --i) sink(i);
  }
  // The likeliest id left; it moves behind the heap, so that rank r ends up at heap[count - 1 - r].
  int32_t pop() {
    const int32_t top = heap[0];
    --size;
    heap[0] = heap[size];
    if (size > 0) sink(0);
    heap[size] = top;
    return top;
  }
};

struct Buffers {
  float *logits, *weights;
  int32_t* heap;
};
int64_t row_bytes(int64_t vocabulary) { return ceil_div(vocabulary * 12, 64) * 64; }
Buffers buffers_at(char* base, int64_t vocabulary) {
  float* logits = reinterpret_cast<float*>(base);
  return {logits, logits + vocabulary, reinterpret_cast<int32_t*>(logits + 2 * vocabulary)};
}

// Id of the largest logit, the lowest among equals; -1 where a logit is NaN or the largest is infinite.
int32_t largest_logit(const float* logits, int64_t n) {
  constexpr int kLanes = simd::kLanes;
  int32_t best = 0;
  bool nan = false;
  int64_t i = 0;
  if (n >= kLanes) {
    // Every lane keeps the first of its largest.
    simd::f32v largest = simd::F32::load(logits);
    simd::i32v id;
    for (int lane = 0; lane < kLanes; ++lane) id[lane] = lane;
    simd::i32v unordered = largest != largest;
    simd::i32v at = id;
    for (i = kLanes; i + kLanes <= n; i += kLanes) {
      const simd::f32v x = simd::F32::load(logits + i);
      id += kLanes;
      unordered |= x != x;
      const simd::i32v larger = x > largest;
      largest = simd::select(larger, x, largest);
      at = larger ? id : at;
    }
    best = at[0];
    for (int lane = 0; lane < kLanes; ++lane) {
      nan = nan || unordered[lane] != 0;
      const float x = largest[lane];
      if (x > logits[best] || (x == logits[best] && at[lane] < best)) best = at[lane];
    }
  }
  for (; i < n; ++i) {
    nan = nan || logits[i] != logits[i];
    if (logits[i] > logits[best]) best = static_cast<int32_t>(i);
  }
  return nan || !(__builtin_fabsf(logits[best]) < __builtin_inff()) ? -1 : best;
}

int32_t draw(const SampleToken& a, int64_t row, const float* logits, const Buffers& b, int64_t n, float largest) {
  // So small a temperature that its inverse overflows is as good as 0.
  const float temperature = a.temperature < 1e-30 ? 1e-30f : static_cast<float>(a.temperature);
  for_vectors(n, [&](int64_t i, int count) {
    store_n(b.weights + i, simd::exp((load_n(logits + i, count) - largest) / temperature), count);
  });
  Ranking ranking{logits, b.heap};
  ranking.build(n);
  const int64_t kept = a.top_k > 0 ? min64(n, a.top_k) : n;
  double sum = 0;
  if (kept == n)
    for (int64_t i = 0; i < n; ++i) sum += b.weights[i];
  else
    for (int64_t i = 0; i < kept; ++i) sum += b.weights[ranking.pop()];
  const auto rank = [&](int64_t r) {
    while (ranking.size > n - 1 - r) ranking.pop();
    return b.heap[n - 1 - r];
  };
  int64_t last = kept - 1;
  double mass = sum;
  if (a.top_p < 1) {
    mass = 0;
    for (int64_t r = 0; r < kept; ++r) {
      mass += b.weights[rank(r)];
      if (mass >= a.top_p * sum) {
        last = r;
        break;
      }
    }
  }
  const double drawn = static_cast<double>(rng::uniform(static_cast<uint64_t>(a.seed), static_cast<uint64_t>(row))) * mass;
  double cumulative = 0;
  for (int64_t r = 0; r < last; ++r) {
    cumulative += b.weights[rank(r)];
    if (cumulative > drawn) return rank(r);
  }
  return rank(last);
}

}  // namespace

size_t sample_token_workspace(const SampleToken& a, const Context& context) {
  return static_cast<size_t>(row_bytes(a.logits.cols()) * min64(context.threads, a.logits.rows()));
}

void sample_token(const SampleToken& a, Context& context) {
  require_float(SampleToken::kName, "logits", a.logits);
  const int64_t n = a.logits.cols();
  int32_t* token = a.token.as<int32_t>();
  const int64_t shares = min64(context.threads, a.logits.rows());
  ThreadPool::instance().run(shares, [&](int64_t share, int) {
    const Buffers b = buffers_at(static_cast<char*>(context.workspace) + share * row_bytes(n), n);
    for (int64_t row = a.logits.rows() * share / shares; row < a.logits.rows() * (share + 1) / shares; ++row) {
      const float* logits = reinterpret_cast<const float*>(a.logits.row(row));
      if (a.logits.dtype != DType::f32) {
        load_f32(a.logits.dtype, logits, b.logits, n);
        logits = b.logits;
      }
      const int32_t best = largest_logit(logits, n);
      token[row] = best < 0 || a.temperature == 0 ? best : draw(a, row, logits, b, n, logits[best]);
    }
  });
  for (int64_t row = 0; row < a.logits.rows(); ++row)
    if (token[row] < 0) fail("ERR_NONFINITE_LOSS", "[sample_token] a row of logits is not finite");
}

}  // namespace nft::cpu::NFT_ISA
