/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the suites of the interrupt controllers share: a seeded generator, comparison of structures,
 * fresh local APICs.
 */
#ifndef STRATA_IRQ_TEST_H
#define STRATA_IRQ_TEST_H

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <errno.h>

#include "arch/x86/irq/lapic.h"

/* xorshift64*: the same sequence everywhere for a seed */
static inline u64 rnd(u64 *state)
{
	*state ^= *state >> 12;
	*state ^= *state << 25;
	*state ^= *state >> 27;
	return *state * 0x2545f4914f6cdd1dull;
}

static inline u32 rnd_below(u64 *state, u32 n)
{
	return (rnd(state) >> 32) % n;
}

/* One of 16..255 */
static inline u8 rnd_vector(u64 *state)
{
	return 16 + rnd_below(state, 240);
}

/* As expect(), but a check that holds costs nothing: loops here run millions of them. */
#define expect_msg(cond, ...)	do { if (!(cond)) ck_abort_msg(__VA_ARGS__); } while (0)
#define expect(cond)		expect_msg(cond, "%s", #cond)
#define expect_eq(a, b)								\
	do {									\
		unsigned long long a_ = (a), b_ = (b);				\
										\
		expect_msg(a_ == b_, "%s is %#llx, not %#llx", #a, a_, b_);	\
	} while (0)

#define ck_equal(a, b)	ck_assert_mem_eq(&(a), &(b), sizeof(a))

struct page {
	u32 words[LAPIC_REGS_SIZE / 4];
};

union image {
	struct kvm_lapic_state s;
	u32 words[LAPIC_REGS_SIZE / 4];
};

static inline struct lapic_config test_config(u32 id)
{
	return (struct lapic_config){
		.id = id, .bus_ns = 1, .maxphyaddr = 40, .bsp = id == 0, .x2apic = true,
		.tsc_deadline = true, .cmci = true, .ids32 = true,
	};
}

/* A local APIC that software has enabled, in xAPIC or x2APIC mode */
static inline void fresh_lapic(struct lapic *l, struct page *page, u32 id, bool x2)
{
	const struct lapic_config cfg = test_config(id);

	lapic_init(l, page->words, &cfg);
	if (x2)
		expect_eq(lapic_set_base(l, l->base | LAPIC_BASE_EXTD, false), 0);
	lapic_set_reg(l, LAPIC_SVR, 0x1ff);
}

static inline void mmio(struct lapic *l, unsigned int reg, u32 val, u64 ns)
{
	const struct lapic_now now = { .ns = ns };
	struct lapic_effect fx = { 0 };

	lapic_mmio_write(l, reg, 4, val, &now, &fx);
}

static inline u32 mmio_read(struct lapic *l, unsigned int reg, u64 ns)
{
	const struct lapic_now now = { .ns = ns };

	return lapic_mmio_read(l, reg, 4, &now);
}

static inline bool same_msg(const struct irq_msg *a, const struct irq_msg *b)
{
	return a->dest == b->dest && a->vector == b->vector && a->mode == b->mode &&
	       a->shorthand == b->shorthand && a->logical == b->logical &&
	       a->broadcast == b->broadcast && a->level == b->level && a->redirect == b->redirect;
}

static inline int run_suite(Suite *s)
{
	SRunner *runner = srunner_create(s);
	int failed;

	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

static inline void add_case(Suite *s, const char *name, const TTest *test)
{
	TCase *tc = tcase_create(name);

	tcase_set_timeout(tc, 120);
	tcase_add_test(tc, test);
	suite_add_tcase(s, tc);
}

#endif
