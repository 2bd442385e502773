// SPDX-License-Identifier: GPL-2.0
/*
 * Local APIC: priorities over all vectors, acceptance, acknowledgement, EOI, the local vector
 * table, reset, and a random walk against a model of single bits.
 */
#include "irq_test.h"

static const struct irq_msg *fixed(u8 vector, bool level)
{
	static struct irq_msg m;

	m = (struct irq_msg){ .vector = vector, .level = level };
	return &m;
}

/*
 * Every interrupt in service, every TPR, every requested vector: deliverable if and only if its
 * class is above both. If only TPR holds it back, the threshold is its class.
 */
START_TEST(all_priorities)
{
	unsigned int isr, tpr, vector;
	struct page page;
	struct lapic l;

	for (isr = 15; isr < 256; isr++) {
		fresh_lapic(&l, &page, 0, false);
		if (isr > 15) {
			lapic_accept(&l, fixed(isr, false));
			expect_eq(lapic_ack(&l), isr);
		}
		for (vector = 16; vector < 256; vector++) {
			expect_eq(lapic_accept(&l, fixed(vector, false)), LAPIC_ACCEPTED);
			for (tpr = 0; tpr < 256; tpr++) {
				unsigned int class = isr > 15 ? isr / 16 : 0;
				unsigned int ppr = tpr / 16 >= class ? tpr : class * 16;
				unsigned int want = vector / 16 > ppr / 16 ? vector : 0;

				lapic_set_tpr(&l, tpr);
				if (lapic_pending_vector(&l) != want ||
				    lapic_reg(&l, LAPIC_PPR) != ppr ||
				    lapic_tpr_threshold(&l) !=
					    (!want && vector / 16 > class ? vector / 16 : 0))
					ck_abort_msg("isr %u tpr %u vector %u", isr, tpr, vector);
			}
			l.regs[(LAPIC_IRR + vector / 32 * 16) / 4] = 0;
			lapic_refresh(&l);
		}
	}
}
END_TEST

/* The model: what the manual says about single bits */
struct model {
	bool irr[256], isr[256], tmr[256];
	unsigned int accepted[256], delivered[256], ended[256];
	u8 tpr;
};

static unsigned int highest(const bool *bits)
{
	int i;

	for (i = 255; i > 0; i--) {
		if (bits[i])
			return i;
	}
	return 0;
}

static unsigned int model_pending(const struct model *m)
{
	unsigned int class = highest(m->isr) / 16 > m->tpr / 16u ? highest(m->isr) / 16 : m->tpr / 16u;

	return highest(m->irr) / 16 > class ? highest(m->irr) : 0;
}

static void compare_model(const struct lapic *l, const struct model *m)
{
	unsigned int v;

	expect_eq(lapic_pending_vector(l), model_pending(m));
	expect_eq(l->irr_max, highest(m->irr));
	expect_eq(l->isr_max, highest(m->isr));
	for (v = 0; v < 256; v++) {
		unsigned int word = v / 32 * 16, bit = v % 32;

		expect_eq(lapic_reg(l, LAPIC_IRR + word) >> bit & 1, m->irr[v]);
		expect_eq(lapic_reg(l, LAPIC_ISR + word) >> bit & 1, m->isr[v]);
		if (m->irr[v] || m->isr[v])
			expect_eq(lapic_reg(l, LAPIC_TMR + word) >> bit & 1, m->tmr[v]);
		expect_eq(m->accepted[v], m->delivered[v] + m->irr[v]);
		expect_eq(m->delivered[v], m->ended[v] + m->isr[v]);
	}
}

static void walk_accept(struct lapic *l, struct model *m, u64 *seed)
{
	u8 v = rnd_vector(seed);
	bool level = rnd_below(seed, 2);

	expect_eq(lapic_accept(l, fixed(v, level)), m->irr[v] ? LAPIC_COALESCED : LAPIC_ACCEPTED);
	m->accepted[v] += !m->irr[v];
	m->irr[v] = true;
	m->tmr[v] = level;
}

static void walk_drain(struct lapic *l, struct model *m, u64 *seed)
{
	struct lapic_posted p = { 0 };
	unsigned int i, n = rnd_below(seed, 5);

	for (i = 0; i < n; i++) {
		u8 v = rnd_vector(seed);

		p.irr[v / 64] |= 1ull << v % 64;
		if (rnd_below(seed, 2))
			p.level[v / 64] |= 1ull << v % 64;
		m->accepted[v] += !m->irr[v];
		m->irr[v] = true;
		m->tmr[v] = p.level[v / 64] >> v % 64 & 1;
	}
	/* Bits of vectors that do not exist, and level bits without a request, mean nothing. */
	p.irr[0] |= rnd(seed) & 0xffff;
	for (i = 0; i < 4; i++)
		lapic_drain(l, i, p.irr[i], p.level[i]);
}

static void walk_ack(struct lapic *l, struct model *m)
{
	unsigned int want = model_pending(m);

	expect_eq(lapic_ack(l), want);
	if (!want)
		return;
	m->irr[want] = false;
	expect(!m->isr[want]);
	m->isr[want] = true;
	m->delivered[want]++;
}

static void walk_eoi(struct lapic *l, struct model *m)
{
	unsigned int want = highest(m->isr);
	bool broadcast;

	expect_eq(lapic_eoi(l, &broadcast), want);
	expect_eq(broadcast, want && m->tmr[want]);
	m->isr[want] = false;
	m->ended[want] += !!want;
}

static void walk_restore(struct lapic *l, struct page *page, bool x2)
{
	union image image, again;

	lapic_get_state(l, NULL, 0, &image.s);
	fresh_lapic(l, page, 0, x2);
	expect_eq(lapic_set_state(l, &image.s, 0), 0);
	lapic_get_state(l, NULL, 0, &again.s);
	ck_equal(image, again);
}

START_TEST(random_walk)
{
	u64 seed = 0x1234567 + _i;
	struct model m = { 0 };
	bool x2 = _i % 2;
	struct page page;
	struct lapic l;
	int step;

	fresh_lapic(&l, &page, 0, x2);
	for (step = 0; step < 4000; step++) {
		switch (rnd_below(&seed, 16)) {
		case 0 ... 5:
			walk_accept(&l, &m, &seed);
			break;
		case 6 ... 9:
			walk_ack(&l, &m);
			break;
		case 10 ... 12:
			walk_eoi(&l, &m);
			break;
		case 13:
			walk_drain(&l, &m, &seed);
			break;
		case 14:
			m.tpr = rnd_below(&seed, 2) ? rnd(&seed) : 0;
			lapic_set_tpr(&l, m.tpr);
			expect_eq(lapic_cr8(&l), m.tpr >> 4);
			break;
		case 15:
			walk_restore(&l, &page, x2);
			break;
		}
		compare_model(&l, &m);
	}
	/* Everything that was accepted comes out, once. */
	m.tpr = 0;
	lapic_set_tpr(&l, 0);
	for (step = 0; step < 600; step++) {
		walk_ack(&l, &m);
		walk_eoi(&l, &m);
	}
	compare_model(&l, &m);
	expect_eq(l.irr_max | l.isr_max, 0);
}
END_TEST

START_TEST(illegal_vectors)
{
	struct page page;
	struct lapic l;
	unsigned int v;

	for (v = 0; v < 16; v++) {
		fresh_lapic(&l, &page, 0, false);
		mmio(&l, LAPIC_LVT_ERROR, 0xf0, 0);
		expect_eq(lapic_accept(&l, fixed(v, false)), LAPIC_IGNORED);
		expect_eq(lapic_ack(&l), 0xf0);
		expect_eq(mmio_read(&l, LAPIC_ESR, 0), 0);
		mmio(&l, LAPIC_ESR, 0, 0);
		expect_eq(mmio_read(&l, LAPIC_ESR, 0), LAPIC_ESR_RECV_ILLEGAL);
		mmio(&l, LAPIC_ESR, 0, 0);
		expect_eq(mmio_read(&l, LAPIC_ESR, 0), 0);
	}
}
END_TEST

/* An error entry that is itself illegal must not recurse. */
START_TEST(illegal_error_vector)
{
	struct page page;
	struct lapic l;

	fresh_lapic(&l, &page, 0, false);
	mmio(&l, LAPIC_LVT_ERROR, 3, 0);
	mmio_read(&l, 0x40, 0);
	mmio(&l, LAPIC_ESR, 0, 0);
	expect_eq(mmio_read(&l, LAPIC_ESR, 0), LAPIC_ESR_REGISTER | LAPIC_ESR_RECV_ILLEGAL);
	expect_eq(lapic_pending_vector(&l), 0);
}
END_TEST

START_TEST(broadcast_suppression)
{
	struct page page;
	bool broadcast;
	struct lapic l;
	unsigned int i;

	for (i = 0; i < 4; i++) {
		fresh_lapic(&l, &page, 0, false);
		l.cfg.directed_eoi = i & 1;
		lapic_configured(&l);
		expect_eq(!!(lapic_reg(&l, LAPIC_VERSION) & LAPIC_VERSION_DIRECTED), i & 1);
		mmio(&l, LAPIC_SVR, 0x1ff | (i & 2 ? LAPIC_SVR_DIRECTED : 0), 0);
		expect_eq(!!(lapic_reg(&l, LAPIC_SVR) & LAPIC_SVR_DIRECTED), i == 3);
		lapic_accept(&l, fixed(0x50, true));
		lapic_ack(&l);
		expect_eq(lapic_eoi(&l, &broadcast), 0x50);
		expect_eq(broadcast, i != 3);
		expect_eq(lapic_eoi(&l, &broadcast), 0);
		expect(!broadcast);
	}
}
END_TEST

START_TEST(modes)
{
	static const enum lapic_action on[8] = {
		LAPIC_ACCEPTED, LAPIC_ACCEPTED, LAPIC_SMI, LAPIC_IGNORED, LAPIC_NMI, LAPIC_INIT, LAPIC_SIPI, LAPIC_EXTINT,
	};
	struct page page;
	struct lapic l;
	unsigned int mode;

	for (mode = 0; mode < 8; mode++) {
		const struct irq_msg m = { .mode = mode, .vector = 0x40 };

		fresh_lapic(&l, &page, 0, false);
		expect_eq(lapic_accept(&l, &m), on[mode]);
		fresh_lapic(&l, &page, 0, false);
		mmio(&l, LAPIC_SVR, 0xff, 0);
		expect_eq(lapic_accept(&l, &m), mode < 2 ? LAPIC_IGNORED : on[mode]);
		expect_eq(lapic_set_base(&l, 0xfee00000, false), 0);
		expect_eq(lapic_accept(&l, &m), LAPIC_IGNORED);
	}
}
END_TEST

START_TEST(local_vectors)
{
	static const struct {
		const char *name;
		unsigned int lvt;
		u32 val;
		enum lapic_action want;
	} rows[] = {
		{ "timer", LAPIC_LVT_TIMER, 0x31, LAPIC_ACCEPTED },
		{ "timer, masked", LAPIC_LVT_TIMER, 0x10031, LAPIC_IGNORED },
		{ "timer has no mode field", LAPIC_LVT_TIMER, 0x431, LAPIC_ACCEPTED },
		{ "error", LAPIC_LVT_ERROR, 0xfe, LAPIC_ACCEPTED },
		{ "thermal", LAPIC_LVT_THERMAL, 0xfa, LAPIC_ACCEPTED },
		{ "thermal as SMI", LAPIC_LVT_THERMAL, 0x200, LAPIC_SMI },
		{ "thermal as ExtINT", LAPIC_LVT_THERMAL, 0x700, LAPIC_IGNORED },
		{ "counters as NMI", LAPIC_LVT_PERF, 0x400, LAPIC_NMI },
		{ "CMCI", LAPIC_LVT_CMCI, 0xf9, LAPIC_ACCEPTED },
		{ "CMCI as SMI", LAPIC_LVT_CMCI, 0x200, LAPIC_SMI },
		{ "LINT0 as ExtINT", LAPIC_LVT_LINT0, 0x700, LAPIC_EXTINT },
		{ "LINT0 fixed", LAPIC_LVT_LINT0, 0x30, LAPIC_ACCEPTED },
		{ "LINT1 as NMI", LAPIC_LVT_LINT1, 0x400, LAPIC_NMI },
		{ "LINT1 as INIT", LAPIC_LVT_LINT1, 0x500, LAPIC_INIT },
		{ "LINT1, lowest priority", LAPIC_LVT_LINT1, 0x130, LAPIC_IGNORED },
		{ "LINT1, masked", LAPIC_LVT_LINT1, 0x10400, LAPIC_IGNORED },
	};
	struct page page;
	struct lapic l;
	unsigned int i;

	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		fresh_lapic(&l, &page, 0, false);
		mmio(&l, rows[i].lvt, rows[i].val, 0);
		expect_msg(lapic_local(&l, rows[i].lvt) == rows[i].want, "%s", rows[i].name);
		mmio(&l, LAPIC_SVR, 0xff, 0);
		expect_msg(lapic_local(&l, rows[i].lvt) == LAPIC_IGNORED,
			   "%s: disabled by software", rows[i].name);
		mmio(&l, rows[i].lvt, rows[i].val, 0);
		expect_msg(lapic_reg(&l, rows[i].lvt) & LAPIC_LVT_MASKED,
			   "%s: mask cannot be cleared", rows[i].name);
	}
	expect_eq(lapic_set_base(&l, 0xfee00000, false), 0);
	expect_eq(lapic_local(&l, LAPIC_LVT_LINT0), LAPIC_EXTINT);
	expect_eq(lapic_local(&l, LAPIC_LVT_LINT1), LAPIC_NMI);
	expect_eq(lapic_local(&l, LAPIC_LVT_TIMER), LAPIC_IGNORED);
}
END_TEST

START_TEST(counters_mask_themselves)
{
	struct page page;
	struct lapic l;
	int masks;

	for (masks = 0; masks < 2; masks++) {
		fresh_lapic(&l, &page, 0, false);
		l.cfg.pmi_masks = masks;
		mmio(&l, LAPIC_LVT_PERF, 0x400, 0);
		expect_eq(lapic_local(&l, LAPIC_LVT_PERF), LAPIC_NMI);
		expect_eq(lapic_local(&l, LAPIC_LVT_PERF), masks ? LAPIC_IGNORED : LAPIC_NMI);
	}
}
END_TEST

START_TEST(extint)
{
	struct lapic_config cfg = test_config(0);
	struct page page;
	struct lapic l;

	cfg.lint0_extint = true;
	lapic_init(&l, page.words, &cfg);
	expect(lapic_takes_extint(&l));
	cfg.lint0_extint = false;
	lapic_init(&l, page.words, &cfg);
	expect(!lapic_takes_extint(&l));
	mmio(&l, LAPIC_SVR, 0x1ff, 0);
	mmio(&l, LAPIC_LVT_LINT0, 0x700, 0);
	expect(lapic_takes_extint(&l));
	mmio(&l, LAPIC_LVT_LINT0, 0x30, 0);
	expect(!lapic_takes_extint(&l));
	expect_eq(lapic_set_base(&l, 0xfee00000, false), 0);
	expect(lapic_takes_extint(&l));
}
END_TEST

/* Registers as the manual's tables have them after RESET; INIT keeps base and ID. */
START_TEST(reset)
{
	bool init = _i;
	unsigned int reg;
	struct page page;
	struct lapic l;
	u64 base;

	fresh_lapic(&l, &page, 3, init);
	l.cfg.cmci = init;
	lapic_accept(&l, fixed(0x81, false));
	lapic_ack(&l);
	lapic_accept(&l, fixed(0x91, true));
	lapic_set_tpr(&l, 0x20);
	lapic_error(&l, LAPIC_ESR_REGISTER);
	base = l.base;
	lapic_reset(&l, init);
	expect_eq(l.base, init ? base : (0xfee00000 | LAPIC_BASE_EN));
	expect_eq(l.pending | l.irr_max | l.isr_max | l.errors | l.armed, 0);
	for (reg = 0; reg < LAPIC_REGS_SIZE; reg += 0x10) {
		u32 want = 0;

		if (reg == LAPIC_ID)
			want = init ? 3 : 3 << 24;
		else if (reg == LAPIC_VERSION)
			want = init ? 0x60014 : 0x50014;
		else if (reg == LAPIC_LDR)
			want = init ? 8 : 0;
		else if (reg == LAPIC_DFR)
			want = ~0u;
		else if (reg == LAPIC_SVR)
			want = 0xff;
		else if ((reg >= LAPIC_LVT_TIMER && reg <= LAPIC_LVT_ERROR) ||
			 reg == LAPIC_LVT_CMCI)
			want = LAPIC_LVT_MASKED;
		expect_msg(lapic_reg(&l, reg) == want, "register %#x is %#x", reg,
			   lapic_reg(&l, reg));
	}
}
END_TEST

int main(void)
{
	Suite *s = suite_create("lapic");
	TCase *loops = tcase_create("loops");

	add_case(s, "all priorities", all_priorities);
	add_case(s, "illegal vectors", illegal_vectors);
	add_case(s, "illegal error vector", illegal_error_vector);
	add_case(s, "broadcast suppression", broadcast_suppression);
	add_case(s, "modes", modes);
	add_case(s, "local vectors", local_vectors);
	add_case(s, "counters mask themselves", counters_mask_themselves);
	add_case(s, "extint", extint);
	tcase_set_timeout(loops, 120);
	tcase_add_loop_test(loops, random_walk, 0, 16);
	tcase_add_loop_test(loops, reset, 0, 2);
	suite_add_tcase(s, loops);
	return run_suite(s);
}
