// SPDX-License-Identifier: GPL-2.0
/*
 * Local APIC registers: which exist and which bits of them are legal, in both modes, as the
 * manual's tables list them; ICR decoding; self IPI; accesses of odd sizes.
 */
#include "irq_test.h"

#define READ	1
#define WRITE	2

/* SDM, "x2APIC Register Address Space": what each MSR allows, and the bits a write may have */
static const struct {
	u32 first, last;
	int access;
	u64 bits;
} x2_table[] = {
	{ 0x802, 0x803, READ, 0 },
	{ 0x808, 0x808, READ | WRITE, 0xff },
	{ 0x80a, 0x80a, READ, 0 },
	{ 0x80b, 0x80b, WRITE, 0 },
	{ 0x80d, 0x80d, READ, 0 },
	{ 0x80f, 0x80f, READ | WRITE, 0x3ff },
	{ 0x810, 0x827, READ, 0 },
	{ 0x828, 0x828, READ | WRITE, 0 },
	{ 0x82f, 0x82f, READ | WRITE, 0x117ff },
	{ 0x830, 0x830, READ | WRITE, 0xffffffff000cdfff },
	{ 0x832, 0x832, READ | WRITE, 0x710ff },
	{ 0x833, 0x834, READ | WRITE, 0x117ff },
	{ 0x835, 0x836, READ | WRITE, 0x1f7ff },
	{ 0x837, 0x837, READ | WRITE, 0x110ff },
	{ 0x838, 0x838, READ | WRITE, 0xffffffff },
	{ 0x839, 0x839, READ, 0 },
	{ 0x83e, 0x83e, READ | WRITE, 0xb },
	{ 0x83f, 0x83f, WRITE, 0xff },
};

static int x2_access(u32 msr, u64 *bits)
{
	unsigned int i;

	for (i = 0; i < sizeof(x2_table) / sizeof(x2_table[0]); i++) {
		*bits = x2_table[i].bits;
		if (msr >= x2_table[i].first && msr <= x2_table[i].last)
			return x2_table[i].access;
	}
	return 0;
}

static const struct lapic_now zero;

static int wrmsr(struct lapic *l, u32 msr, u64 val)
{
	struct lapic_effect fx = { 0 };

	return lapic_wrmsr(l, msr, val, &zero, &fx);
}

/* Each MSR, read and written with no bit and with each single bit; what faults leaves no trace. */
START_TEST(x2apic_rights)
{
	struct page page, before;
	struct lapic l, copy;
	unsigned int bit;
	u64 legal, val;
	u32 msr;

	fresh_lapic(&l, &page, 1, true);
	for (msr = LAPIC_X2APIC_MSR; msr <= LAPIC_X2APIC_MSR_LAST; msr++) {
		int access = x2_access(msr, &legal);

		expect_msg(lapic_rdmsr(&l, msr, &val, &zero) == !(access & READ), "RDMSR %#x", msr);
		expect_msg(wrmsr(&l, msr, 0) == !(access & WRITE), "WRMSR %#x", msr);
		for (bit = 0; bit < 64; bit++) {
			bool gp = !(access & WRITE) || !(legal & 1ull << bit);

			copy = l;
			before = page;
			expect_msg(wrmsr(&l, msr, 1ull << bit) == gp, "WRMSR %#x, bit %u", msr,
				   bit);
			if (gp) {
				ck_equal(copy, l);
				ck_equal(before, page);
			}
		}
	}
}
END_TEST

/* What CPUID and MCG_CAP do not offer is reserved. */
START_TEST(x2apic_optional)
{
	struct page page;
	struct lapic l;
	u64 val;

	fresh_lapic(&l, &page, 1, true);
	expect_eq(wrmsr(&l, 0x832, 0x60031), 1);
	expect_eq(wrmsr(&l, 0x80f, 0x11ff), 1);
	l.cfg.tsc_deadline = l.cfg.cmci = false;
	l.cfg.directed_eoi = true;
	lapic_configured(&l);
	expect_eq(lapic_reg(&l, LAPIC_VERSION), 0x1050014);
	expect_eq(wrmsr(&l, 0x832, 0x40031), 1);
	expect_eq(wrmsr(&l, 0x832, 0x20031), 0);
	expect_eq(wrmsr(&l, 0x82f, 0), 1);
	expect_eq(lapic_rdmsr(&l, 0x82f, &val, &zero), 1);
	expect_eq(wrmsr(&l, 0x80f, 0x11ff), 0);
}
END_TEST

/* No x2APIC MSR exists outside x2APIC mode. */
START_TEST(x2apic_mode_only)
{
	struct page page;
	struct lapic l;
	u64 val;
	u32 msr;

	fresh_lapic(&l, &page, 1, false);
	for (msr = LAPIC_X2APIC_MSR; msr <= LAPIC_X2APIC_MSR_LAST; msr++) {
		expect_eq(lapic_rdmsr(&l, msr, &val, &zero), 1);
		expect_eq(wrmsr(&l, msr, 0), 1);
	}
}
END_TEST

/* The xAPIC page: existing registers, and the bits that stick when all are written */
static const struct {
	unsigned int first, last;
	u32 sticks;
} x_table[] = {
	{ 0x020, 0x020, 0xff000000 },
	{ 0x030, 0x030, 0 },
	{ 0x080, 0x080, 0xff },
	{ 0x090, 0x0c0, 0 },
	{ 0x0d0, 0x0d0, 0xff000000 },
	{ 0x0e0, 0x0e0, 0xf0000000 },
	{ 0x0f0, 0x0f0, 0x3ff },
	{ 0x100, 0x270, 0 },
	{ 0x280, 0x280, 0 },
	{ 0x2f0, 0x2f0, 0x107ff },
	{ 0x300, 0x300, 0xffffefff },
	{ 0x310, 0x310, 0xff000000 },
	{ 0x320, 0x320, 0x700ff },
	{ 0x330, 0x340, 0x107ff },
	{ 0x350, 0x360, 0x1a7ff },
	{ 0x370, 0x370, 0x100ff },
	{ 0x380, 0x380, 0xffffffff },
	{ 0x390, 0x390, 0 },
	{ 0x3e0, 0x3e0, 0xb },
};

static bool x_exists(unsigned int reg, u32 *sticks)
{
	unsigned int i;

	for (i = 0; i < sizeof(x_table) / sizeof(x_table[0]); i++) {
		*sticks = x_table[i].sticks;
		if (reg >= x_table[i].first && reg <= x_table[i].last)
			return true;
	}
	return false;
}

START_TEST(xapic_rights)
{
	struct page page;
	unsigned int reg;
	struct lapic l;
	u32 sticks;

	for (reg = 0; reg < 0x1000; reg += 0x10) {
		bool exists = x_exists(reg, &sticks);
		u32 old, val;

		fresh_lapic(&l, &page, 1, false);
		old = mmio_read(&l, reg, 0);
		expect_eq(l.errors, exists ? 0 : LAPIC_ESR_REGISTER);
		l.errors = 0;
		/*
		 * As ICR the first is an NMI, the second an ExtINT: neither has a vector that could
		 * be illegal.
		 */
		mmio(&l, reg, 0x400, 0);
		mmio(&l, reg, ~0u, 0);
		expect_msg(l.errors == (exists ? 0 : LAPIC_ESR_REGISTER), "store to %#x: %#x", reg, l.errors);
		l.errors = 0;
		val = mmio_read(&l, reg, 0);
		if (!exists)
			expect_eq(val, 0);
		else if (!sticks)
			expect_msg(val == old, "%#x read-only: %#x, %#x", reg, old, val);
		else if (reg == LAPIC_DFR)
			expect_eq(val, ~0u);
		else if (reg == LAPIC_LVT_TIMER)
			expect_eq(val, 0x700ff);
		else
			expect_msg(val == sticks, "%#x: %#x, not %#x", reg, val, sticks);
	}
}
END_TEST

/*
 * An error interrupts when it is new since the last write to the ESR; the ESR shows it from that
 * write on.
 */
START_TEST(error_register)
{
	struct page page;
	bool broadcast;
	struct lapic l;

	fresh_lapic(&l, &page, 1, false);
	mmio(&l, LAPIC_LVT_ERROR, 0x44, 0);
	mmio(&l, 0x2a0, 1, 0);
	expect_eq(lapic_ack(&l), 0x44);
	lapic_eoi(&l, &broadcast);
	mmio_read(&l, 0x2a0, 0);
	expect_eq(lapic_pending_vector(&l), 0);
	expect_eq(mmio_read(&l, LAPIC_ESR, 0), 0);
	mmio(&l, LAPIC_ESR, 0xffffffff, 0);
	expect_eq(mmio_read(&l, LAPIC_ESR, 0), LAPIC_ESR_REGISTER);
	expect_eq(mmio_read(&l, LAPIC_ESR, 0), LAPIC_ESR_REGISTER);
	mmio_read(&l, 0x3f0, 0);
	expect_eq(lapic_pending_vector(&l), 0x44);
	mmio(&l, LAPIC_ICR, 0x0f, 0);
	mmio(&l, LAPIC_ESR, 0, 0);
	expect_eq(mmio_read(&l, LAPIC_ESR, 0), LAPIC_ESR_REGISTER | LAPIC_ESR_SEND_ILLEGAL);
}
END_TEST

START_TEST(odd_accesses)
{
	struct lapic_effect fx = { 0 };
	struct page page;
	struct lapic l;

	fresh_lapic(&l, &page, 0x12, false);
	lapic_set_reg(&l, LAPIC_DFR, 0x89abcdef);
	expect_eq(lapic_mmio_read(&l, LAPIC_DFR, 8, &zero), 0x89abcdef);
	expect_eq(lapic_mmio_read(&l, LAPIC_DFR, 1, &zero), 0xef);
	expect_eq(lapic_mmio_read(&l, LAPIC_DFR + 2, 2, &zero), 0x89ab);
	expect_eq(lapic_mmio_read(&l, LAPIC_DFR + 3, 1, &zero), 0x89);
	expect_eq(lapic_mmio_read(&l, LAPIC_DFR + 4, 4, &zero), 0);
	expect_eq(lapic_mmio_read(&l, LAPIC_DFR + 12, 4, &zero), 0);
	lapic_mmio_write(&l, LAPIC_TPR, 1, 0x50, &zero, &fx);
	lapic_mmio_write(&l, LAPIC_TPR, 8, 0x50, &zero, &fx);
	lapic_mmio_write(&l, LAPIC_TPR + 4, 4, 0x50, &zero, &fx);
	expect_eq(lapic_reg(&l, LAPIC_TPR), 0);
	lapic_mmio_write(&l, LAPIC_TPR, 4, 0x150, &zero, &fx);
	expect_eq(lapic_reg(&l, LAPIC_TPR), 0x50);
	expect_eq(lapic_reg(&l, LAPIC_PPR), 0x50);
	expect_eq(fx.what, 0);
}
END_TEST

START_TEST(icr_decoding)
{
	static const struct {
		const char *name;
		bool x2;
		u32 icr, dest;
		bool sends;
		struct irq_msg want;
	} rows[] = {
		{ "fixed, physical", false, 0x4031, 0x07000000, true, { .dest = 7, .vector = 0x31 } },
		{ "fixed, logical", false, 0x4831, 0x0c000000, true, { .dest = 0xc, .vector = 0x31, .logical = true } },
		{ "lowest priority", false, 0x4941, 0x03000000, true,
		  { .dest = 3, .vector = 0x41, .mode = IRQ_MODE_LOWEST, .logical = true } },
		{ "level means nothing to a fixed IPI", false, 0xc031, 0x07000000, true, { .dest = 7, .vector = 0x31 } },
		{ "all but self", false, 0xc40fd, 0, true, { .vector = 0xfd, .shorthand = IRQ_DEST_OTHERS } },
		{ "all, NMI", false, 0x84400, 0, true, { .mode = IRQ_MODE_NMI, .shorthand = IRQ_DEST_ALL } },
		{ "self", false, 0x44031, 0, true, { .vector = 0x31, .shorthand = IRQ_DEST_SELF } },
		{ "SMI", false, 0x4200, 0x01000000, true, { .dest = 1, .mode = IRQ_MODE_SMI } },
		{ "INIT assert", false, 0xc500, 0x01000000, true, { .dest = 1, .mode = IRQ_MODE_INIT } },
		{ "INIT by edge", false, 0x4500, 0x01000000, true, { .dest = 1, .mode = IRQ_MODE_INIT } },
		{ "INIT de-assert", false, 0x8500, 0x01000000, false, { 0 } },
		{ "SIPI", false, 0x4608, 0x01000000, true, { .dest = 1, .vector = 8, .mode = IRQ_MODE_SIPI } },
		{ "reserved mode", false, 0x4300, 0x01000000, false, { 0 } },
		{ "ExtINT", false, 0x4700, 0x01000000, false, { 0 } },
		{ "illegal vector", false, 0x400f, 0x01000000, false, { 0 } },
		{ "NMI's vector is ignored", false, 0x4402, 0x01000000, true,
		  { .dest = 1, .vector = 2, .mode = IRQ_MODE_NMI } },
		{ "everybody", false, 0x4031, 0xff000000, true, { .dest = 0xff, .vector = 0x31, .broadcast = true } },
		{ "x2APIC", true, 0x31, 0x12345678, true, { .dest = 0x12345678, .vector = 0x31 } },
		{ "x2APIC, 255 is one APIC", true, 0x31, 0xff, true, { .dest = 0xff, .vector = 0x31 } },
		{ "x2APIC, everybody", true, 0x31, ~0u, true, { .dest = ~0u, .vector = 0x31, .broadcast = true } },
		{ "x2APIC, logical", true, 0x831, 0x10003, true, { .dest = 0x10003, .vector = 0x31, .logical = true } },
	};
	struct page page;
	struct irq_msg m;
	struct lapic l;
	unsigned int i;

	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		fresh_lapic(&l, &page, 1, rows[i].x2);
		expect_msg(lapic_icr(&l, rows[i].icr, rows[i].dest, &m) == rows[i].sends, "%s",
			   rows[i].name);
		if (rows[i].sends)
			expect_msg(same_msg(&m, &rows[i].want), "%s: wrong message", rows[i].name);
	}
}
END_TEST

/* What is written is read back, without the busy bit, and goes out once. */
START_TEST(icr_access)
{
	struct lapic_effect fx = { 0 };
	struct page page;
	struct lapic l;
	u64 val;

	fresh_lapic(&l, &page, 1, false);
	lapic_mmio_write(&l, LAPIC_ICR2, 4, 0x05ffffff, &zero, &fx);
	expect_eq(fx.what, 0);
	lapic_mmio_write(&l, LAPIC_ICR, 4, 0x5031, &zero, &fx);
	expect(fx.what == LAPIC_DID_IPI && fx.ipi.dest == 5 && fx.ipi.vector == 0x31);
	expect_eq(mmio_read(&l, LAPIC_ICR, 0), 0x4031);
	expect_eq(mmio_read(&l, LAPIC_ICR2, 0), 0x05000000);

	fresh_lapic(&l, &page, 1, true);
	fx.what = 0;
	expect_eq(lapic_wrmsr(&l, 0x830, 0x9876543200001031, &zero, &fx), 0);
	expect(fx.what == LAPIC_DID_IPI && fx.ipi.dest == 0x98765432);
	expect_eq(lapic_rdmsr(&l, 0x830, &val, &zero), 0);
	expect_eq(val, 0x9876543200000031);
}
END_TEST

START_TEST(self_ipis)
{
	struct lapic_effect fx = { 0 };
	struct page page;
	struct lapic l;

	fresh_lapic(&l, &page, 1, true);
	expect_eq(lapic_wrmsr(&l, 0x83f, 0x77, &zero, &fx), 0);
	expect(fx.what == LAPIC_DID_SELF && fx.ipi.vector == 0x77);
	fx.what = 0;
	expect_eq(lapic_wrmsr(&l, 0x830, 0x40066, &zero, &fx), 0);
	expect(fx.what == LAPIC_DID_SELF && fx.ipi.vector == 0x66);
	/* Not a second time */
	fx.what = 0;
	expect_eq(lapic_wrmsr(&l, 0x83f, 0x77, &zero, &fx), 0);
	expect_eq(fx.what, 0);
	expect_eq(lapic_ack(&l), 0x77);
	expect_eq(lapic_reg(&l, LAPIC_IRR + 0x30), 1 << 6);
	expect_eq(lapic_wrmsr(&l, 0x83f, 0x0e, &zero, &fx), 0);
	expect_eq(l.errors, LAPIC_ESR_SEND_ILLEGAL | LAPIC_ESR_RECV_ILLEGAL);

	fresh_lapic(&l, &page, 1, false);
	mmio(&l, LAPIC_ICR, 0x44066, 0);
	expect_eq(lapic_pending_vector(&l), 0x66);
	mmio(&l, LAPIC_SELF_IPI, 0x77, 0);
	expect_eq(lapic_pending_vector(&l), 0x66);
	expect_eq(l.errors, LAPIC_ESR_REGISTER);
}
END_TEST

/* Registers whose accesses need the time: all others can do without one. */
START_TEST(timed)
{
	struct lapic_effect fx = { 0 };
	struct page page;
	unsigned int reg;
	struct lapic l;

	fresh_lapic(&l, &page, 1, false);
	for (reg = 0; reg < LAPIC_REGS_SIZE; reg += 0x10) {
		bool want = reg == 0x320 || reg == 0x380 || reg == 0x390 || reg == 0x3e0;

		expect_eq(lapic_timed(reg), want);
		if (want)
			continue;
		lapic_mmio_read(&l, reg, 4, NULL);
		lapic_mmio_write(&l, reg, 4, 0x1ff, NULL, &fx);
	}
}
END_TEST

START_TEST(eoi_effects)
{
	struct irq_msg m = { .vector = 0x61, .level = true };
	struct lapic_effect fx = { 0 };
	struct page page;
	struct lapic l;

	fresh_lapic(&l, &page, 1, true);
	lapic_accept(&l, &m);
	m = (struct irq_msg){ .vector = 0x91 };
	lapic_accept(&l, &m);
	expect_eq(lapic_ack(&l), 0x91);
	lapic_set_reg(&l, LAPIC_ISR + 0x30, 2);
	expect_eq(lapic_wrmsr(&l, 0x80b, 0, &zero, &fx), 0);
	expect(fx.what == 0 && fx.eoi == 0x91);
	lapic_refresh(&l);
	expect_eq(lapic_wrmsr(&l, 0x80b, 0, &zero, &fx), 0);
	expect(fx.what == LAPIC_DID_EOI && fx.eoi == 0x61);
	expect_eq(lapic_wrmsr(&l, 0x80b, 1, &zero, &fx), 1);
}
END_TEST

/*
 * What the CPU stored into the page for the guest comes to the same as a store that the model sees,
 * whatever was in the registers before: two local APICs go the same random way, one by each.
 */
START_TEST(written_by_cpu)
{
	static const u16 regs[] = {
		LAPIC_ID, LAPIC_TPR, LAPIC_EOI, LAPIC_LDR, LAPIC_DFR, LAPIC_SVR, LAPIC_SVR, LAPIC_ESR, LAPIC_ICR, LAPIC_ICR2, LAPIC_LVT_TIMER,
		LAPIC_LVT_TIMER, LAPIC_LVT_THERMAL, LAPIC_LVT_PERF, LAPIC_LVT_LINT0, LAPIC_LVT_LINT1, LAPIC_LVT_ERROR, LAPIC_TMICT, LAPIC_TMICT,
		LAPIC_TDCR,
	};
	struct page page[2];
	u64 seed = 1300 + _i;
	struct lapic l[2];
	int round;

	fresh_lapic(&l[0], &page[0], 1, false);
	fresh_lapic(&l[1], &page[1], 1, false);
	mmio(&l[0], LAPIC_SVR, 0x1ff, 0);
	mmio(&l[1], LAPIC_SVR, 0x1ff, 0);
	for (round = 1; round < 4000; round++) {
		struct lapic_now now = { .ns = round * 100ull + rnd_below(&seed, 90), .tsc = round * 1000ull };
		struct lapic_effect fx[2] = { };
		struct lapic copy;
		u32 reg = regs[rnd_below(&seed, sizeof(regs) / sizeof(regs[0]))], val = rnd(&seed);

		if (reg == LAPIC_TMICT)
			val &= 0x3ff;
		if (reg == LAPIC_SVR && rnd_below(&seed, 4))
			val |= LAPIC_SVR_ENABLED;
		lapic_mmio_write(&l[0], reg, 4, val, &now, &fx[0]);
		lapic_set_reg(&l[1], reg, val);
		/* An instruction that writes more than one exits for one of them. */
		if (!rnd_below(&seed, 8) && reg != LAPIC_TDCR)
			lapic_set_reg(&l[1], LAPIC_TDCR, rnd(&seed));
		lapic_written(&l[1], reg, &now, &fx[1]);
		ck_equal(page[0], page[1]);
		ck_equal(fx[0], fx[1]);
		copy = l[1];
		copy.regs = l[0].regs;
		expect(!memcmp(&copy, &l[0], sizeof(copy)));
		if (!rnd_below(&seed, 3)) {
			lapic_ack(&l[0]);
			lapic_ack(&l[1]);
		}
		expect_eq(lapic_timer_fire(&l[0], &now), lapic_timer_fire(&l[1], &now));
	}
}
END_TEST

int main(void)
{
	Suite *s = suite_create("lapic_access");
	TCase *loops = tcase_create("loops");

	add_case(s, "x2APIC rights", x2apic_rights);
	add_case(s, "x2APIC optional registers", x2apic_optional);
	add_case(s, "x2APIC mode only", x2apic_mode_only);
	add_case(s, "xAPIC rights", xapic_rights);
	add_case(s, "error register", error_register);
	add_case(s, "odd accesses", odd_accesses);
	add_case(s, "ICR decoding", icr_decoding);
	add_case(s, "ICR access", icr_access);
	add_case(s, "self IPIs", self_ipis);
	add_case(s, "timed registers", timed);
	add_case(s, "EOI effects", eoi_effects);
	tcase_add_loop_test(loops, written_by_cpu, 0, 16);
	suite_add_tcase(s, loops);
	return run_suite(s);
}
