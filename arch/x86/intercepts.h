/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Exception intercepts that the host's administrator forces on guests, to debug them.
 */
#ifndef STRATA_X86_INTERCEPTS_H
#define STRATA_X86_INTERCEPTS_H

#include <linux/types.h>

/**
 * forced_exceptions() - the module parameter force_intercept_exceptions
 *
 * Return: BIT(vector) of each; a new VM keeps them for its life.
 */
u32 forced_exceptions(void);

/**
 * forced_exceptions_init() - drop what the backend, known now, cannot forward
 *
 * Called once while the module loads.
 */
void forced_exceptions_init(void);

#endif
