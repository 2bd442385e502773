/* SPDX-License-Identifier: GPL-2.0 */
/*
 * eventfd_signal() lost its count in 6.8: everybody passed 1.
 */
#ifndef STRATA_COMPAT_EVENTFD_H
#define STRATA_COMPAT_EVENTFD_H

#include <linux/eventfd.h>

static inline void compat_eventfd_signal(struct eventfd_ctx *ctx)
{
#ifdef HAVE_EVENTFD_SIGNAL_COUNT
	eventfd_signal(ctx, 1);
#else
	eventfd_signal(ctx);
#endif
}

#endif
