#pragma once
// Helpers to fill a device table from ops.def; see kernels/ref/table.cc.
// NFT_PICK(flag, yes, no) expands to yes for 1 and to no for 0.
#define NFT_PICK_0(yes, no) no
#define NFT_PICK_1(yes, no) yes
#define NFT_PICK(flag, yes, no) NFT_PICK_(flag, yes, no)
#define NFT_PICK_(flag, yes, no) NFT_PICK_##flag(yes, no)
#define NFT_AND_00 0
#define NFT_AND_01 0
#define NFT_AND_10 0
#define NFT_AND_11 1
#define NFT_AND(a, b) NFT_AND_(a, b)
#define NFT_AND_(a, b) NFT_AND_##a##b
#define NFT_EMPTY
