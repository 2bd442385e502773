// SPDX-License-Identifier: GPL-2.0
/*
 * The two layouts of nested page-table entries (AMD APM vol. 2 "Nested Paging", Intel SDM vol. 3
 * "EPT Translation Mechanism").
 *
 * Nested paging of AMD treats every access as a user access, so U is always set. Its entries carry
 * no memory type: what the guest chose holds, and PCD|PWT (UC in the kernel's PAT) overrides it for
 * device memory. EPT ignores the guest's choice for RAM (IPAT): nothing in the guest snoops without
 * it, and aliases with different types are never made. Device memory stays combinable, so that a
 * guest's write-combining works.
 */
#include "mmu.h"

#include <linux/bits.h>

#define TDP_ADDR	GENMASK_ULL(51, 12)

const struct tdp_format tdp_format_npt = {
	.present	= BIT_ULL(0) | BIT_ULL(1) | BIT_ULL(2),
	.read		= BIT_ULL(0) | BIT_ULL(2),
	.write		= BIT_ULL(1),
	.noexec		= BIT_ULL(63),
	.huge		= BIT_ULL(7),
	.accessed	= BIT_ULL(5),
	.dirty		= BIT_ULL(6),
	.memtype_uc	= BIT_ULL(3) | BIT_ULL(4),
	.soft_writable	= BIT_ULL(9),
	.addr		= TDP_ADDR,
};

#define EPT_MEMTYPE_WB	(6ULL << 3)
#define EPT_IPAT	BIT_ULL(6)

const struct tdp_format tdp_format_ept = {
	.present	= BIT_ULL(0) | BIT_ULL(1) | BIT_ULL(2),
	.read		= BIT_ULL(0),
	.write		= BIT_ULL(1),
	.exec		= BIT_ULL(2),
	.huge		= BIT_ULL(7),
	.accessed	= BIT_ULL(8),
	.dirty		= BIT_ULL(9),
	.memtype	= EPT_MEMTYPE_WB | EPT_IPAT,
	.memtype_uc	= 0,
	.soft_writable	= BIT_ULL(52),
	.addr		= TDP_ADDR,
};
