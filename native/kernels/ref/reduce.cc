#include "../../ops/reduce.h"

#include "../../core/context.h"
#include "access.h"

namespace nft::ref {

void sum_of_squares(const SumOfSquares& a, Context&) {
  double sum = 0;
  for (int64_t i = 0; i < a.x.num_elements(); ++i) sum += at(a.x, i) * at(a.x, i);
  set(a.out, 0, at(a.out, 0) + sum);
}

}  // namespace nft::ref
