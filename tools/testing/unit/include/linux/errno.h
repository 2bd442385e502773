/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Userspace stand-in for the kernel's <linux/errno.h>.
 */
#ifndef STRATA_UNIT_ERRNO_H
#define STRATA_UNIT_ERRNO_H

#include_next <linux/errno.h>

#endif
