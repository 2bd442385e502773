// SPDX-License-Identifier: GPL-2.0
/*
 * Local APIC: the timer (SDM vol. 3, "APIC Timer").
 *
 * One-shot and periodic modes count bus cycles of host time; what is stored is the time of the next
 * expiry, and the current count is computed when somebody reads it. TSC-deadline mode stores the
 * deadline only. A timer may be late: until lapic_timer_fire() is called it has not expired, and
 * every write settles what was due before it.
 */
#include "lapic.h"

#define TIMER_ONESHOT	0
#define TIMER_PERIODIC	1
#define TIMER_DEADLINE	2

static u8 timer_mode(const struct lapic *l)
{
	return (lapic_reg(l, LAPIC_LVT_TIMER) >> LAPIC_LVTT_MODE_SHIFT) & 3;
}

static bool counts(const struct lapic *l)
{
	return timer_mode(l) <= TIMER_PERIODIC;
}

/* Length of one count: the divide configuration's three bits are 2, 4, .. 128, 1. */
static u64 tick_ns(const struct lapic *l)
{
	u32 tdcr = lapic_reg(l, LAPIC_TDCR);
	u32 code = (tdcr & 3) | (tdcr & 8) >> 1;

	return (u64)l->cfg.bus_ns << ((code + 1) & 7);
}

static u64 period_ns(const struct lapic *l)
{
	return lapic_reg(l, LAPIC_TMICT) * tick_ns(l);
}

bool lapic_bus_ns_valid(u64 ns)
{
	/* The longest period, 2^32 counts of 128 cycles, stays below 2^62 ns. */
	return ns && ns <= 1u << 23;
}

/*
 * Time left until the count runs out. An expiry that is late counts as past; one that is further
 * away than a period leaves some out.
 */
static u64 remaining_ns(const struct lapic *l, u64 ns)
{
	u64 period;

	if (!l->armed)
		return 0;
	period = timer_mode(l) == TIMER_PERIODIC ? period_ns(l) : 0;
	if (ns >= l->expiry)
		return period ? period - (ns - l->expiry) % period : 0;
	if (period && l->expiry - ns > period)
		return (l->expiry - ns - 1) % period + 1;
	return l->expiry - ns;
}

u32 lapic_current_count(const struct lapic *l, u64 ns)
{
	u64 tick = tick_ns(l);

	return counts(l) ? (remaining_ns(l, ns) + tick - 1) / tick : 0;
}

enum lapic_clock lapic_timer_next(const struct lapic *l, u64 *when)
{
	if (timer_mode(l) == TIMER_DEADLINE) {
		*when = l->deadline;
		return l->deadline ? LAPIC_CLOCK_TSC : LAPIC_CLOCK_NONE;
	}
	*when = l->expiry;
	return l->armed ? LAPIC_CLOCK_NS : LAPIC_CLOCK_NONE;
}

/* The first end of a period that is due, and not sooner than the limit allows. */
static u64 next_period(const struct lapic *l, u64 ns, u64 period)
{
	u64 left = period - (ns - l->expiry) % period, min = l->cfg.min_period_ns;

	if (left < min && period < min)
		left += (min - left + period - 1) / period * period;
	return ns + left;
}

bool lapic_timer_fire_ns(struct lapic *l, u64 ns)
{
	u64 period;

	if (!counts(l) || !l->armed || ns < l->expiry)
		return false;
	period = period_ns(l);
	if (timer_mode(l) == TIMER_PERIODIC && period)
		l->expiry = next_period(l, ns, period);
	else
		l->armed = false;
	lapic_local(l, LAPIC_LVT_TIMER);
	return true;
}

bool lapic_timer_fire(struct lapic *l, const struct lapic_now *now)
{
	if (timer_mode(l) != TIMER_DEADLINE)
		return lapic_timer_fire_ns(l, now->ns);
	if (!l->deadline || now->tsc < l->deadline)
		return false;
	l->deadline = 0;
	lapic_local(l, LAPIC_LVT_TIMER);
	return true;
}

u64 lapic_tsc_deadline(const struct lapic *l)
{
	return timer_mode(l) == TIMER_DEADLINE ? l->deadline : 0;
}

void lapic_set_tsc_deadline(struct lapic *l, u64 deadline, u64 tsc)
{
	const struct lapic_now now = { .tsc = tsc };

	if (timer_mode(l) != TIMER_DEADLINE)
		return;
	lapic_timer_fire(l, &now);
	l->deadline = deadline;
}

void lapic_restore_tsc_deadline(struct lapic *l, u64 deadline)
{
	l->deadline = deadline;
}

/*
 * Changing between counting and TSC-deadline mode disarms; between one-shot and periodic the count
 * goes on.
 */
static void write_lvtt(struct lapic *l, u32 val, u64 ns)
{
	bool counted = counts(l);
	u64 left = remaining_ns(l, ns);
	u8 old = timer_mode(l);

	lapic_set_reg(l, LAPIC_LVT_TIMER, val);
	if (old == timer_mode(l))
		return;
	if (counted && counts(l)) {
		l->expiry = ns + left;
		return;
	}
	l->armed = false;
	l->deadline = 0;
	lapic_set_reg(l, LAPIC_TMICT, 0);
}

static void write_tdcr(struct lapic *l, u32 val, u64 ns)
{
	u32 count = lapic_current_count(l, ns);

	lapic_set_reg(l, LAPIC_TDCR, val);
	if (l->armed)
		l->expiry = ns + count * tick_ns(l);
}

void lapic_timer_write(struct lapic *l, unsigned int reg, u32 val, const struct lapic_now *now)
{
	lapic_timer_fire(l, now);

	switch (reg) {
	case LAPIC_LVT_TIMER:
		write_lvtt(l, val, now->ns);
		break;
	case LAPIC_TDCR:
		write_tdcr(l, val, now->ns);
		break;
	case LAPIC_TMICT:
		if (!counts(l))
			break;
		lapic_set_reg(l, LAPIC_TMICT, val);
		l->armed = val;
		l->expiry = now->ns + period_ns(l);
		break;
	}
}

void lapic_timer_save(struct lapic *l, u64 ns)
{
	u64 left = counts(l) ? remaining_ns(l, ns) : 0;
	u32 count = lapic_current_count(l, ns);

	lapic_set_reg(l, LAPIC_TMCCT, count);
	lapic_set_reg(l, LAPIC_IMAGE_PHASE, count * tick_ns(l) - left);
	lapic_set_reg(l, LAPIC_IMAGE_MARK, LAPIC_IMAGE_VALID);
}

/*
 * An image whose count is zero may come from a VMM that does not carry TMCCT: a timer that might be
 * running must not be lost, so a one-shot timer expires at once and a periodic one starts anew.
 */
static u64 unknown_count_ns(const struct lapic *l)
{
	return timer_mode(l) == TIMER_PERIODIC ? period_ns(l) : 0;
}

void lapic_timer_restore(struct lapic *l, u64 ns)
{
	bool exact = lapic_reg(l, LAPIC_IMAGE_MARK) == LAPIC_IMAGE_VALID;
	u32 phase = exact ? lapic_reg(l, LAPIC_IMAGE_PHASE) : 0;
	u32 initial = lapic_reg(l, LAPIC_TMICT);
	u32 count = lapic_reg(l, LAPIC_TMCCT);
	u64 tick = tick_ns(l);

	if (!counts(l))
		lapic_set_reg(l, LAPIC_TMICT, 0);
	if (count > initial)
		count = initial;
	if (phase >= tick)
		phase = 0;
	l->armed = counts(l) && initial && (count || !exact);
	l->expiry = ns + (count ? count * tick - phase : unknown_count_ns(l));
	lapic_set_reg(l, LAPIC_TMCCT, 0);
}
