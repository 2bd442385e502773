/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Userspace stand-in for the kernel's <linux/string.h>.
 */
#ifndef STRATA_UNIT_STRING_H
#define STRATA_UNIT_STRING_H

#include <string.h>

#endif
