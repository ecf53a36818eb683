#pragma once
// Every op's argument struct.
#include "attention.h"
#include "elementwise.h"
#include "embedding.h"
#include "gated_activation.h"
#include "linear.h"
#include "linear_cross_entropy.h"
#include "optimizer_update.h"
#include "reduce.h"
#include "rms_norm.h"
#include "rope.h"
#include "sample_token.h"
