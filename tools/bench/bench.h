/* SPDX-License-Identifier: GPL-2.0 */
#ifndef STRATA_BENCH_H
#define STRATA_BENCH_H

#include "cpu.h"

/* Prints the median of what @round returns: ticks for one event. */
void figure(const char *name, u64 (*round)(void *), void *arg);
/* A round of a guest that measures itself and hands over the ticks */
u64 in_guest(void *vcpu);

/* irq.c */
void irq_figures(void);
/* nested.c */
void nested_figures(void);

#endif
