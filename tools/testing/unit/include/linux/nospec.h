/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Userspace stand-in for the kernel's <linux/nospec.h>.
 */
#ifndef STRATA_UNIT_NOSPEC_H
#define STRATA_UNIT_NOSPEC_H

#define array_index_nospec(index, size)	(index)

#endif
