/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Included before everything else in every C file of the module.
 *
 * The code is written for the newer kernel; what an older one lacks is supplied here or, where that needs kernel headers, in
 * a header of its own in this directory, which the file that needs it includes by name. Kbuild.include sets the HAVE_*
 * by looking into the kernel's headers.
 */
#ifndef STRATA_COMPAT_H
#define STRATA_COMPAT_H

#endif
