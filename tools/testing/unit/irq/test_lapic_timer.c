// SPDX-License-Identifier: GPL-2.0
/*
 * The local APIC's timer: divider, counting, expiry on time and late, masks, mode changes, TSC
 * deadline; a random walk against a counter that is stepped tick by tick.
 */
#include "irq_test.h"

#define VECTOR	0x31

static void start(struct lapic *l, struct page *page, u32 lvtt, u32 tdcr, u32 count, u64 ns)
{
	fresh_lapic(l, page, 0, false);
	mmio(l, LAPIC_LVT_TIMER, lvtt | VECTOR, ns);
	mmio(l, LAPIC_TDCR, tdcr, ns);
	mmio(l, LAPIC_TMICT, count, ns);
}

static bool take(struct lapic *l)
{
	bool broadcast;

	if (lapic_ack(l) != VECTOR)
		return false;
	lapic_eoi(l, &broadcast);
	return true;
}

START_TEST(divider)
{
	static const struct {
		u32 tdcr, divide;
	} rows[] = { { 0, 2 }, { 1, 4 }, { 2, 8 }, { 3, 16 }, { 8, 32 }, { 9, 64 }, { 10, 128 }, { 11, 1 } };
	struct page page;
	struct lapic l;
	unsigned int i;
	u64 when;

	for (i = 0; i < 8; i++) {
		start(&l, &page, 0, rows[i].tdcr, 1000, 5000);
		expect_eq(lapic_timer_next(&l, &when), LAPIC_CLOCK_NS);
		expect_eq(when, 5000 + 1000 * rows[i].divide);
		expect_eq(mmio_read(&l, LAPIC_TMCCT, 5000), 1000);
		expect_eq(mmio_read(&l, LAPIC_TMCCT, 5000 + rows[i].divide - 1), 1000);
		expect_eq(mmio_read(&l, LAPIC_TMCCT, 5000 + 10 * rows[i].divide), 990);
		l.cfg.bus_ns = 40;
		mmio(&l, LAPIC_TMICT, 1000, 7000);
		lapic_timer_next(&l, &when);
		expect_eq(when, 7000 + 40000 * rows[i].divide);
	}
}
END_TEST

START_TEST(one_shot)
{
	struct page page;
	struct lapic l;
	u64 when;

	start(&l, &page, 0, 11, 100, 1000);
	expect(!lapic_timer_fire_ns(&l, 1099));
	expect_eq(mmio_read(&l, LAPIC_TMCCT, 1099), 1);
	expect(lapic_timer_fire_ns(&l, 1100));
	expect(take(&l));
	expect(!lapic_timer_fire_ns(&l, 5000));
	expect(!take(&l));
	expect_eq(mmio_read(&l, LAPIC_TMCCT, 5000), 0);
	expect_eq(mmio_read(&l, LAPIC_TMICT, 5000), 100);
	expect_eq(lapic_timer_next(&l, &when), LAPIC_CLOCK_NONE);
	mmio(&l, LAPIC_TMICT, 50, 6000);
	mmio(&l, LAPIC_TMICT, 0, 6010);
	expect_eq(lapic_timer_next(&l, &when), LAPIC_CLOCK_NONE);
	expect(!lapic_timer_fire_ns(&l, 9000));
}
END_TEST

/* Late by some periods: one interrupt, and the phase stays. */
START_TEST(periodic)
{
	struct page page;
	struct lapic l;
	u64 when;

	start(&l, &page, LAPIC_LVTT_PERIODIC, 0, 100, 1000);
	expect_eq(lapic_timer_next(&l, &when), LAPIC_CLOCK_NS);
	expect_eq(when, 1200);
	expect(lapic_timer_fire_ns(&l, 1200));
	expect(take(&l));
	expect_eq(mmio_read(&l, LAPIC_TMCCT, 1200), 100);
	expect_eq(mmio_read(&l, LAPIC_TMCCT, 2210), 95);
	expect(lapic_timer_fire_ns(&l, 2210));
	expect(take(&l));
	expect(!lapic_timer_fire_ns(&l, 2210));
	lapic_timer_next(&l, &when);
	expect_eq(when, 2400);
}
END_TEST

/* Shorter than the limit: periods are left out, and the count is that of each. */
START_TEST(short_periods)
{
	static const u32 counts[] = { 1, 7, 100, 999, 1000, 1001, 5000 };
	u64 when, last, end = 1ull << 40;
	struct page page;
	unsigned int i;
	struct lapic l;
	int round;

	for (i = 0; i < 7; i++) {
		u32 n = counts[i], at_least = n < 1000 ? 1000 : n;

		start(&l, &page, LAPIC_LVTT_PERIODIC, 11, n, end);
		l.cfg.min_period_ns = 1000;
		lapic_timer_next(&l, &when);
		expect_eq(when, end + n);
		for (round = 0; round < 50; round++) {
			last = when;
			expect(!lapic_timer_fire_ns(&l, last - 1));
			expect(lapic_timer_fire_ns(&l, last));
			expect(take(&l));
			lapic_timer_next(&l, &when);
			expect(when - last >= at_least && when - last < at_least + n);
			expect_eq((when - end) % n, 0);
			expect_eq(mmio_read(&l, LAPIC_TMCCT, last), n);
			expect_eq(mmio_read(&l, LAPIC_TMCCT, last + n / 2), n - n / 2);
			expect_eq(mmio_read(&l, LAPIC_TMCCT, last + n), n);
		}
		/* As one-shot timer the rest of the period is left. */
		mmio(&l, LAPIC_LVT_TIMER, VECTOR, last + n / 2);
		lapic_timer_next(&l, &when);
		expect_eq(when, last + n);
	}
}
END_TEST

START_TEST(masked)
{
	struct page page;
	struct lapic l;
	u64 when;

	start(&l, &page, LAPIC_LVT_MASKED, 11, 100, 0);
	expect(lapic_timer_fire_ns(&l, 100));
	expect(!take(&l));
	expect_eq(lapic_timer_next(&l, &when), LAPIC_CLOCK_NONE);
	start(&l, &page, LAPIC_LVT_MASKED | LAPIC_LVTT_PERIODIC, 11, 100, 0);
	expect(lapic_timer_fire_ns(&l, 100));
	mmio(&l, LAPIC_LVT_TIMER, LAPIC_LVTT_PERIODIC | VECTOR, 150);
	expect(lapic_timer_fire_ns(&l, 200));
	expect(take(&l));
}
END_TEST

/* A write settles what was due before it. */
START_TEST(write_after_expiry)
{
	static const unsigned int regs[] = { LAPIC_TMICT, LAPIC_TDCR, LAPIC_LVT_TIMER };
	struct page page;
	struct lapic l;
	unsigned int i;

	for (i = 0; i < 3; i++) {
		start(&l, &page, 0, 11, 100, 0);
		mmio(&l, regs[i], regs[i] == LAPIC_LVT_TIMER ? LAPIC_LVT_MASKED : 0, 100);
		expect(take(&l));
		expect(!lapic_timer_fire_ns(&l, 100000));
	}
}
END_TEST

START_TEST(divider_changes)
{
	struct page page;
	struct lapic l;
	u64 when;

	start(&l, &page, 0, 11, 100, 0);
	mmio(&l, LAPIC_TDCR, 0, 40);
	expect_eq(mmio_read(&l, LAPIC_TMCCT, 40), 60);
	expect_eq(lapic_timer_next(&l, &when), LAPIC_CLOCK_NS);
	expect_eq(when, 160);
}
END_TEST

START_TEST(mode_changes)
{
	struct lapic_now now = { .ns = 50, .tsc = 1000 };
	struct lapic_effect fx = { 0 };
	struct page page;
	struct lapic l;
	u64 when;

	start(&l, &page, 0, 11, 100, 0);
	mmio(&l, LAPIC_LVT_TIMER, LAPIC_LVTT_PERIODIC | VECTOR, 50);
	expect_eq(lapic_timer_next(&l, &when), LAPIC_CLOCK_NS);
	expect_eq(when, 100);
	expect(lapic_timer_fire_ns(&l, 100) && take(&l));
	expect(lapic_timer_fire_ns(&l, 200) && take(&l));

	lapic_mmio_write(&l, LAPIC_LVT_TIMER, 4, LAPIC_LVTT_DEADLINE | VECTOR, &now, &fx);
	expect(fx.what & LAPIC_DID_TIMER);
	expect_eq(lapic_timer_next(&l, &when), LAPIC_CLOCK_NONE);
	expect_eq(mmio_read(&l, LAPIC_TMICT, 50) | mmio_read(&l, LAPIC_TMCCT, 50), 0);
	mmio(&l, LAPIC_TMICT, 100, 60);
	expect_eq(mmio_read(&l, LAPIC_TMICT, 60), 0);
	lapic_set_tsc_deadline(&l, 2000, 1000);
	lapic_mmio_write(&l, LAPIC_LVT_TIMER, 4, VECTOR, &now, &fx);
	expect_eq(lapic_tsc_deadline(&l), 0);
	lapic_mmio_write(&l, LAPIC_LVT_TIMER, 4, LAPIC_LVTT_DEADLINE | VECTOR, &now, &fx);
	expect_eq(lapic_timer_next(&l, &when), LAPIC_CLOCK_NONE);
}
END_TEST

START_TEST(tsc_deadline)
{
	struct lapic_now now = { .ns = ~0ull >> 1 };
	struct page page;
	struct lapic l;
	u64 when;

	fresh_lapic(&l, &page, 0, false);
	lapic_set_tsc_deadline(&l, 500, 0);
	expect_eq(lapic_tsc_deadline(&l), 0);
	mmio(&l, LAPIC_LVT_TIMER, LAPIC_LVTT_DEADLINE | VECTOR, 0);
	lapic_set_tsc_deadline(&l, 500, 0);
	expect_eq(lapic_tsc_deadline(&l), 500);
	expect_eq(lapic_timer_next(&l, &when), LAPIC_CLOCK_TSC);
	expect_eq(when, 500);
	now.tsc = 499;
	expect(!lapic_timer_fire(&l, &now));
	now.tsc = 500;
	expect(lapic_timer_fire(&l, &now));
	expect(take(&l));
	expect_eq(lapic_tsc_deadline(&l), 0);
	expect(!lapic_timer_fire(&l, &now));

	/*
	 * In the past: at once. Written over after it was due: it interrupts, and the new one is
	 * armed.
	 */
	lapic_set_tsc_deadline(&l, 100, 600);
	now.tsc = 600;
	expect(lapic_timer_fire(&l, &now) && take(&l));
	lapic_set_tsc_deadline(&l, 700, 600);
	lapic_set_tsc_deadline(&l, 900, 800);
	expect(take(&l));
	expect_eq(lapic_tsc_deadline(&l), 900);
	lapic_set_tsc_deadline(&l, 0, 800);
	expect_eq(lapic_timer_next(&l, &when), LAPIC_CLOCK_NONE);
}
END_TEST

/* Both mode bits together mean nothing: stored in xAPIC mode, but never counting. */
START_TEST(reserved_mode)
{
	struct page page;
	struct lapic l;
	u64 when;

	start(&l, &page, LAPIC_LVTT_PERIODIC | LAPIC_LVTT_DEADLINE, 11, 100, 0);
	expect_eq(lapic_timer_next(&l, &when), LAPIC_CLOCK_NONE);
	expect(!lapic_timer_fire_ns(&l, 1000000));
}
END_TEST

START_TEST(bus_cycle_limits)
{
	struct page page;
	struct lapic l;
	u64 when, ns;

	expect(!lapic_bus_ns_valid(0));
	expect(lapic_bus_ns_valid(1));
	for (ns = 1; lapic_bus_ns_valid(ns); ns *= 2) {
		start(&l, &page, LAPIC_LVTT_PERIODIC, 10, ~0u, 1ull << 61);
		l.cfg.bus_ns = ns;
		mmio(&l, LAPIC_TMICT, ~0u, 1ull << 61);
		lapic_timer_next(&l, &when);
		expect_eq(when, (1ull << 61) + 0xffffffffull * 128 * ns);
		expect_eq(mmio_read(&l, LAPIC_TMCCT, 1ull << 61), ~0u);
	}
	expect(ns > 1000000);
}
END_TEST

/* A counter as the manual describes it, stepped tick by tick */
struct counter {
	u32 count, initial;
	bool periodic;
	unsigned int fired;
};

static void step(struct counter *c)
{
	if (!c->count || --c->count)
		return;
	c->fired++;
	if (c->periodic)
		c->count = c->initial;
}

/*
 * Divided by 1, so that a tick is a nanosecond: counts and interrupts agree at every moment,
 * however late it is looked at.
 */
START_TEST(against_stepped_counter)
{
	u64 seed = 77 + _i, now = 0, looked = 0;
	struct counter c = { 0 };
	struct page page;
	struct lapic l;
	int round;

	start(&l, &page, 0, 11, 0, 0);
	for (round = 0; round < 3000; round++) {
		u32 delta = rnd_below(&seed, 60);

		c.fired = 0;
		for (now += delta; looked < now; looked++)
			step(&c);
		expect_eq(lapic_current_count(&l, now), c.count);
		expect_eq(lapic_timer_fire_ns(&l, now), c.fired != 0);
		expect_eq(take(&l), c.fired != 0);
		expect_eq(lapic_current_count(&l, now), c.count);
		switch (rnd_below(&seed, 6)) {
		case 0:
			c.initial = c.count = rnd_below(&seed, 100);
			mmio(&l, LAPIC_TMICT, c.initial, now);
			break;
		case 1:
			c.periodic = rnd_below(&seed, 2);
			mmio(&l, LAPIC_LVT_TIMER, VECTOR | (c.periodic ? LAPIC_LVTT_PERIODIC : 0), now);
			break;
		}
	}
}
END_TEST

int main(void)
{
	Suite *s = suite_create("lapic_timer");
	TCase *loops = tcase_create("loops");

	add_case(s, "divider", divider);
	add_case(s, "one-shot", one_shot);
	add_case(s, "periodic", periodic);
	add_case(s, "short periods", short_periods);
	add_case(s, "masked", masked);
	add_case(s, "write after expiry", write_after_expiry);
	add_case(s, "divider changes", divider_changes);
	add_case(s, "mode changes", mode_changes);
	add_case(s, "TSC deadline", tsc_deadline);
	add_case(s, "reserved mode", reserved_mode);
	add_case(s, "bus cycle limits", bus_cycle_limits);
	tcase_add_loop_test(loops, against_stepped_counter, 0, 16);
	suite_add_tcase(s, loops);
	return run_suite(s);
}
