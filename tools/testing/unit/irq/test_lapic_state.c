// SPDX-License-Identifier: GPL-2.0
/*
 * IA32_APIC_BASE transitions, and images: GET changes nothing; SET of a GET on a fresh APIC goes on
 * exactly as the old one would, whatever is done to both; images of other implementations; SET and
 * base in either order.
 */
#include "irq_test.h"

#include "arch/x86/irq/lapic_dest.h"

#define OFF	0xfee00000ull
#define XAPIC	(OFF | LAPIC_BASE_EN)
#define X2APIC	(XAPIC | LAPIC_BASE_EXTD)
#define INVALID	(OFF | LAPIC_BASE_EXTD)

/* SDM, "Local x2APIC State Transitions with IA32_APIC_BASE": from each mode to each */
START_TEST(transitions)
{
	static const u64 modes[] = { OFF, XAPIC, X2APIC };
	static const bool legal[3][4] = {
		/* to OFF, XAPIC, X2APIC, INVALID */
		{ true, true, false, false },
		{ true, true, true, false },
		{ true, false, true, false },
	};
	static const u64 to[] = { OFF, XAPIC, X2APIC, INVALID };
	unsigned int i, j, host;
	struct page page;
	struct lapic l;

	for (i = 0; i < 3; i++) {
		for (j = 0; j < 4; j++) {
			for (host = 0; host < 2; host++) {
				bool want = host ? j < 3 : legal[i][j];

				fresh_lapic(&l, &page, 1, false);
				expect_eq(lapic_set_base(&l, modes[i], true), 0);
				expect_msg(lapic_set_base(&l, to[j], host) == !want, "%u to %u", i,
					   j);
				expect_eq(l.base, want ? to[j] : modes[i]);
			}
		}
	}
}
END_TEST

START_TEST(base_bits)
{
	struct page page;
	struct lapic l;
	unsigned int bit;

	fresh_lapic(&l, &page, 1, false);
	for (bit = 0; bit < 64; bit++) {
		bool legal = (bit >= 12 && bit < 40) || bit == 8 || bit == 10 || bit == 11;

		expect_eq(lapic_set_base(&l, XAPIC, true), 0);
		expect_msg(lapic_set_base(&l, XAPIC | 1ull << bit, false) == !legal, "bit %u", bit);
	}
	l.cfg.x2apic = false;
	expect_eq(lapic_set_base(&l, XAPIC, true), 0);
	expect_eq(lapic_set_base(&l, X2APIC, false), 1);
	expect_eq(lapic_set_base(&l, X2APIC, true), 1);
}
END_TEST

/* Disabling loses everything; switching to x2APIC loses nothing but the names. */
START_TEST(state_across_transitions)
{
	const struct irq_msg m = { .vector = 0x55 };
	struct page page;
	struct lapic l;

	fresh_lapic(&l, &page, 0x21, false);
	mmio(&l, LAPIC_LVT_LINT1, 0x400, 0);
	mmio(&l, LAPIC_LDR, 0x55000000, 0);
	mmio(&l, LAPIC_ID, 0x66000000, 0);
	lapic_accept(&l, &m);
	expect_eq(lapic_set_base(&l, X2APIC, false), 0);
	expect_eq(lapic_pending_vector(&l), 0x55);
	expect_eq(lapic_reg(&l, LAPIC_LVT_LINT1), 0x400);
	expect_eq(lapic_reg(&l, LAPIC_ID), 0x21);
	expect_eq(lapic_reg(&l, LAPIC_LDR), 0x20002);
	/* Userspace's way off and on again loses nothing, but nothing is delivered meanwhile. */
	expect_eq(lapic_set_base(&l, OFF, true), 0);
	expect_eq(lapic_pending_vector(&l), 0);
	expect_eq(lapic_set_base(&l, X2APIC, true), 0);
	expect_eq(lapic_pending_vector(&l), 0x55);
	expect_eq(lapic_set_base(&l, OFF, false), 0);
	expect_eq(lapic_pending_vector(&l), 0);
	expect_eq(lapic_set_base(&l, XAPIC, false), 0);
	expect_eq(lapic_reg(&l, LAPIC_ID), 0x21000000);
	expect_eq(lapic_reg(&l, LAPIC_SVR), 0xff);
	expect_eq(l.irr_max, 0);
}
END_TEST

static const u16 access_regs[] = {
	LAPIC_ID,	   LAPIC_VERSION,
	LAPIC_TPR,	   LAPIC_PPR,
	LAPIC_EOI,	   LAPIC_LDR,
	LAPIC_DFR,	   LAPIC_SVR,
	LAPIC_ISR + 0x20,  LAPIC_TMR + 0x30,
	LAPIC_IRR + 0x40,  LAPIC_ESR,
	LAPIC_LVT_CMCI,	   LAPIC_ICR,
	LAPIC_ICR2,	   LAPIC_LVT_TIMER,
	LAPIC_LVT_THERMAL, LAPIC_LVT_PERF,
	LAPIC_LVT_LINT0,   LAPIC_LVT_LINT1,
	LAPIC_LVT_ERROR,   LAPIC_TMICT,
	LAPIC_TMCCT,	   LAPIC_TDCR,
	LAPIC_SELF_IPI,	   0x2a0,
};

/* One thing that can happen to an APIC, and everything that could be seen of it */
struct event {
	unsigned int what, reg;
	u64 val;
	struct lapic_now now;
};

struct seen {
	u64 val[3];
	struct lapic_effect fx;
};

static bool same_seen(const struct seen *a, const struct seen *b)
{
	return !memcmp(a->val, b->val, sizeof(a->val)) && a->fx.what == b->fx.what &&
	       a->fx.eoi == b->fx.eoi && same_msg(&a->fx.ipi, &b->fx.ipi);
}

/* Values that keep something alive: enabled, unmasked, short times */
static u32 useful_value(unsigned int reg, u64 *seed)
{
	u32 val = rnd(seed);

	switch (reg) {
	case LAPIC_SVR:
		return 0x1ff | (val & 0x100);
	case LAPIC_TMICT:
		return val % 500;
	case LAPIC_LVT_TIMER:
		return 0x30 + val % 4 + (val >> 8 & 3) * LAPIC_LVTT_PERIODIC +
		       (val >> 12 & 1) * LAPIC_LVT_MASKED;
	case LAPIC_LVT_ERROR:
		return val % 256;
	case LAPIC_ICR:
		return (val & 0xff) | (val >> 10 & 3) << 18 | (val >> 12 & 7) << 8;
	}
	return val & 0xff;
}

static struct event random_event(u64 *seed, struct lapic_now *now)
{
	struct event e;

	now->ns += rnd_below(seed, 200);
	now->tsc += rnd_below(seed, 300);
	e.what = rnd_below(seed, 12);
	e.reg = access_regs[rnd_below(seed, sizeof(access_regs) / sizeof(access_regs[0]))];
	e.val = rnd_below(seed, 3) ? useful_value(e.reg, seed) : rnd(seed);
	e.now = *now;
	return e;
}

static void access_event(struct lapic *l, const struct event *e, bool write, struct seen *out)
{
	u32 msr = LAPIC_X2APIC_MSR + e->reg / 0x10;

	if (write && lapic_x2apic(l))
		out->val[0] = lapic_wrmsr(l, msr, e->val, &e->now, &out->fx);
	else if (write)
		lapic_mmio_write(l, e->reg, 4, e->val, &e->now, &out->fx);
	else if (lapic_x2apic(l))
		out->val[0] = lapic_rdmsr(l, msr, &out->val[1], &e->now);
	else
		out->val[0] = lapic_mmio_read(l, e->reg, 4, &e->now);
}

static struct seen apply(struct lapic *l, const struct event *e)
{
	const struct irq_msg m = { .vector = e->val % 256, .level = e->val >> 8 & 1 };
	struct seen out;
	bool broadcast;

	memset(&out, 0, sizeof(out));
	switch (e->what) {
	case 0 ... 2:
		access_event(l, e, true, &out);
		break;
	case 3 ... 4:
		access_event(l, e, false, &out);
		break;
	case 5:
		out.val[0] = lapic_accept(l, &m);
		break;
	case 6 ... 7:
		out.val[0] = lapic_ack(l);
		break;
	case 8:
		out.val[0] = lapic_eoi(l, &broadcast);
		out.val[1] = broadcast;
		break;
	case 9 ... 10:
		out.val[0] = lapic_timer_fire(l, &e->now);
		break;
	case 11:
		lapic_set_tsc_deadline(l, e->now.tsc + e->val % 400, e->now.tsc);
		break;
	}
	out.val[2] = lapic_pending_vector(l);
	return out;
}

/*
 * Two APICs live the same life, one of them moved to a fresh one at random moments, once to another
 * host, whose clock reads something else. A counting timer that is due when the image is taken
 * fires in it, so the other one fires, too.
 */
START_TEST(restored_lives_on)
{
	u64 seed = 4711 + _i, shift = 0;
	struct lapic_now now = { .ns = 1000, .tsc = 500 };
	bool x2 = _i & 1, ids32 = _i & 2;
	struct page pages[2];
	struct lapic l[2];
	int i, step;

	for (i = 0; i < 2; i++) {
		fresh_lapic(&l[i], &pages[i], 9, x2);
		l[i].cfg.ids32 = ids32;
	}
	for (step = 0; step < 3000; step++) {
		struct event e = random_event(&seed, &now);
		struct seen first = apply(&l[0], &e), second;

		e.now.ns += shift;
		second = apply(&l[1], &e);
		expect_msg(same_seen(&first, &second), "step %d: event %u, register %#x", step,
			   e.what, e.reg);
		if (!rnd_below(&seed, 10)) {
			u64 deadline = lapic_tsc_deadline(&l[1]), was = shift;
			union image image, again;
			struct page copy = pages[1];
			struct lapic old = l[1];

			lapic_get_state(&l[1], NULL, now.ns + was, &image.s);
			lapic_get_state(&l[1], NULL, now.ns + was, &again.s);
			ck_equal(image, again);
			ck_equal(copy, pages[1]);
			ck_equal(old, l[1]);

			shift = rnd_below(&seed, 100000);
			fresh_lapic(&l[1], &pages[1], 9, x2);
			l[1].cfg.ids32 = ids32;
			if (step % 2)
				lapic_restore_tsc_deadline(&l[1], deadline);
			expect_eq(lapic_set_state(&l[1], &image.s, now.ns + shift), 0);
			if (step % 2 == 0)
				lapic_restore_tsc_deadline(&l[1], deadline);
			lapic_get_state(&l[1], NULL, now.ns + shift, &again.s);
			ck_equal(image, again);
			lapic_timer_fire_ns(&l[0], now.ns);
		}
	}
}
END_TEST

/* The image shows what is on its way: posted vectors and a timer that is due. */
START_TEST(image_shows_what_is_due)
{
	struct lapic_posted posted = { .irr = { 0, 1ull << 5 }, .level = { 0, 1ull << 5 } };
	union image image;
	struct page page;
	struct lapic l;

	fresh_lapic(&l, &page, 0, false);
	mmio(&l, LAPIC_LVT_TIMER, 0x31, 0);
	mmio(&l, LAPIC_TDCR, 11, 0);
	mmio(&l, LAPIC_TMICT, 100, 0);
	lapic_get_state(&l, &posted, 99, &image.s);
	expect_eq(image.words[(LAPIC_IRR + 0x20) / 4], 1 << 5);
	expect_eq(image.words[(LAPIC_TMR + 0x20) / 4], 1 << 5);
	expect_eq(image.words[(LAPIC_IRR + 0x10) / 4], 0);
	expect_eq(image.words[LAPIC_TMCCT / 4], 1);
	lapic_get_state(&l, NULL, 100, &image.s);
	expect_eq(image.words[(LAPIC_IRR + 0x10) / 4], 1 << 17);
	expect_eq(image.words[LAPIC_TMCCT / 4], 0);
	expect_eq(l.irr_max, 0);
}
END_TEST

/* IA32_TSC_DEADLINE is another GET: both would show the interrupt if the image did, too. */
START_TEST(image_leaves_deadline_alone)
{
	const struct lapic_now now = { .ns = 1ull << 60, .tsc = 100 };
	union image image;
	struct page page;
	struct lapic l;

	fresh_lapic(&l, &page, 0, false);
	mmio(&l, LAPIC_LVT_TIMER, 0x31 | LAPIC_LVTT_DEADLINE, 0);
	lapic_set_tsc_deadline(&l, 100, 0);
	lapic_get_state(&l, NULL, now.ns, &image.s);
	expect_eq(image.words[(LAPIC_IRR + 0x10) / 4], 0);
	expect_eq(lapic_tsc_deadline(&l), 100);
	expect(lapic_timer_fire(&l, &now));
}
END_TEST

START_TEST(x2apic_id_formats)
{
	union image image;
	struct page page;
	struct lapic l;

	fresh_lapic(&l, &page, 0x123, true);
	lapic_get_state(&l, NULL, 0, &image.s);
	expect_eq(image.words[LAPIC_ID / 4], 0x123);
	expect_eq(lapic_set_state(&l, &image.s, 0), 0);
	image.words[LAPIC_ID / 4] = 0x124;
	expect_eq(lapic_set_state(&l, &image.s, 0), -EINVAL);
	expect_eq(lapic_reg(&l, LAPIC_ID), 0x123);

	fresh_lapic(&l, &page, 0x12, true);
	l.cfg.ids32 = false;
	lapic_get_state(&l, NULL, 0, &image.s);
	expect_eq(image.words[LAPIC_ID / 4], 0x12000000);
	expect_eq(lapic_set_state(&l, &image.s, 0), 0);
	expect_eq(lapic_reg(&l, LAPIC_ID), 0x12);
}
END_TEST

/* KVM_SET_LAPIC before the APIC base is set gives the same as after it. */
START_TEST(either_order)
{
	struct page pages[3];
	struct lapic l[3];
	union image image[3];
	int i;

	fresh_lapic(&l[0], &pages[0], 7, true);
	lapic_set_reg(&l[0], LAPIC_ICR2, 0x12345678);
	mmio(&l[0], LAPIC_TMICT, 1000, 0);
	lapic_get_state(&l[0], NULL, 0, &image[0].s);
	for (i = 1; i < 3; i++) {
		struct lapic_config cfg = test_config(7);

		lapic_init(&l[i], pages[i].words, &cfg);
		if (i == 1)
			expect_eq(lapic_set_base(&l[i], l[0].base, true), 0);
		expect_eq(lapic_set_state(&l[i], &image[0].s, 0), 0);
		if (i == 2)
			expect_eq(lapic_set_base(&l[i], l[0].base, true), 0);
		lapic_get_state(&l[i], NULL, 0, &image[i].s);
		ck_equal(image[0], image[i]);
		expect_eq(lapic_addr(&l[i]).ldr, 0x80);
	}
}
END_TEST

/* Images of VMMs that carry neither TMCCT nor our words: no timer is lost. */
START_TEST(foreign_images)
{
	static const struct {
		u32 lvtt, count;
		u64 when;
	} rows[] = {
		{ 0x31, 0, 500 },
		{ 0x31, 40, 540 },
		{ 0x31, 4000, 600 },
		{ 0x31 | LAPIC_LVTT_PERIODIC, 0, 600 },
		{ 0x31 | LAPIC_LVTT_PERIODIC, 40, 540 },
	};
	struct page page;
	struct lapic l;
	unsigned int i;
	u64 when;

	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		union image image = { 0 };

		image.words[LAPIC_SVR / 4] = 0x1ff;
		image.words[LAPIC_LVT_TIMER / 4] = rows[i].lvtt;
		image.words[LAPIC_TMICT / 4] = 100;
		image.words[LAPIC_TDCR / 4] = 11;
		image.words[LAPIC_TMCCT / 4] = rows[i].count;
		fresh_lapic(&l, &page, 0, false);
		expect_eq(lapic_set_state(&l, &image.s, 500), 0);
		expect_eq(lapic_timer_next(&l, &when), LAPIC_CLOCK_NS);
		expect_eq(when, rows[i].when);
		expect_eq(lapic_reg(&l, LAPIC_VERSION), 0x60014);
		expect_eq(lapic_reg(&l, LAPIC_LVT_CMCI), LAPIC_LVT_MASKED);
	}
}
END_TEST

/* Any bytes may be set: what comes out is legal, stays so, and is its own image. */
START_TEST(random_images)
{
	struct lapic_now now = { .ns = 5000, .tsc = 1 };
	u64 seed = 99 + _i;
	union image image, again;
	struct page page;
	struct lapic l;
	unsigned int i;

	for (i = 0; i < sizeof(image.words) / 4; i++)
		image.words[i] = rnd(&seed);
	fresh_lapic(&l, &page, 2, false);
	expect_eq(lapic_set_state(&l, &image.s, now.ns), 0);
	expect_eq((l.regs[LAPIC_IRR / 4] | l.regs[LAPIC_ISR / 4]) & 0xffff, 0);
	expect_eq(mmio_read(&l, LAPIC_APR, 0) | mmio_read(&l, LAPIC_RRD, 0), 0);
	expect_eq(lapic_reg(&l, LAPIC_SVR), image.words[LAPIC_SVR / 4] & 0x13ff);
	lapic_get_state(&l, NULL, now.ns, &image.s);
	fresh_lapic(&l, &page, 2, false);
	expect_eq(lapic_set_state(&l, &image.s, now.ns), 0);
	lapic_get_state(&l, NULL, now.ns, &again.s);
	ck_equal(image, again);
	for (i = 0; i < 1000; i++) {
		struct event e = random_event(&seed, &now);

		apply(&l, &e);
		expect(!l.pending || l.pending == l.irr_max);
	}
}
END_TEST

int main(void)
{
	Suite *s = suite_create("lapic_state");
	TCase *loops = tcase_create("loops");

	add_case(s, "transitions", transitions);
	add_case(s, "base bits", base_bits);
	add_case(s, "state across transitions", state_across_transitions);
	add_case(s, "image shows what is due", image_shows_what_is_due);
	add_case(s, "image leaves the deadline alone", image_leaves_deadline_alone);
	add_case(s, "x2APIC ID formats", x2apic_id_formats);
	add_case(s, "either order", either_order);
	add_case(s, "foreign images", foreign_images);
	tcase_set_timeout(loops, 120);
	tcase_add_loop_test(loops, restored_lives_on, 0, 32);
	tcase_add_loop_test(loops, random_images, 0, 200);
	suite_add_tcase(s, loops);
	return run_suite(s);
}
