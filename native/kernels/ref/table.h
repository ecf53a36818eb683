#pragma once
#include "../../core/device.h"

namespace nft::ref {
const Device& table();
}
