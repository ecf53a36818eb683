#include "../../ops/reduce.h"

#include "../../core/context.h"
#include "access.h"

namespace nft::ref {

void sum_of_squares(const SumOfSquares& a, Context&) {
  long double sum = at(a.out, 0);  // devices sum in f64; the oracle must be better than they are
  for (int64_t i = 0; i < a.x.num_elements(); ++i) {
    const long double x = at(a.x, i);
    sum += x * x;
  }
  set(a.out, 0, static_cast<double>(sum));
}

}  // namespace nft::ref
