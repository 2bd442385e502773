// SPDX-License-Identifier: GPL-2.0
/*
 * Local APIC: register accesses by MMIO (xAPIC) and by RDMSR, WRMSR (x2APIC).
 *
 * One table says which registers exist in which mode and which of their bits software may write.
 * What breaks its rules is an ESR error in xAPIC mode and #GP in x2APIC mode.
 */
#include "lapic.h"
#include "lapic_dest.h"

#include <linux/bits.h>
#include <linux/nospec.h>

/* x: xAPIC, 2: x2APIC */
#define XR	BIT(0)	/* exists; a store to a read-only register is ignored */
#define XW	BIT(1)
#define R2	BIT(2)
#define W2	BIT(3)
#define X	(XR | XW)
#define RO	(XR | R2)
#define ALL	(XR | XW | R2 | W2)

#define LVT_COMMON	(LAPIC_VECTOR | LAPIC_LVT_STATUS | LAPIC_LVT_MASKED)
#define LVT_MODE	(7 << LAPIC_MODE_SHIFT)
#define LVT_LINT	(LVT_COMMON | LVT_MODE | LAPIC_LVT_POLARITY | LAPIC_LVT_REMOTE_IRR | \
			 LAPIC_LVT_LEVEL)

/* Read-only bits count as writable here (no #GP) and are cleared by clean_value(). */
struct rule {
	u8 access;
	u32 bits;
};

#define RULE(reg, acc, mask)	[(reg) / 0x10] = { .access = (acc), .bits = (mask) }
#define ARRAY(reg)		[(reg) / 0x10 ... (reg) / 0x10 + 7] = { .access = RO }

static const struct rule rules[LAPIC_REGS_SIZE / 0x10] = {
	RULE(LAPIC_ID,		X | R2,	0xff000000),
	RULE(LAPIC_VERSION,	RO,	0),
	RULE(LAPIC_TPR,		ALL,	0xff),
	RULE(LAPIC_APR,		XR,	0),
	RULE(LAPIC_PPR,		RO,	0),
	RULE(LAPIC_EOI,		X | W2,	0),
	RULE(LAPIC_RRD,		XR,	0),
	RULE(LAPIC_LDR,		X | R2,	0xff000000),
	RULE(LAPIC_DFR,		X,	0xf0000000),
	/* Bit 9, focus checking, does nothing, but old guests set it. */
	RULE(LAPIC_SVR,		ALL,	0x3ff | LAPIC_SVR_DIRECTED),
	ARRAY(LAPIC_ISR),
	ARRAY(LAPIC_TMR),
	ARRAY(LAPIC_IRR),
	RULE(LAPIC_ESR,		ALL,	0),
	RULE(LAPIC_LVT_CMCI,	ALL,	LVT_COMMON | LVT_MODE),
	/* Guests read back what they wrote, so in xAPIC mode only the busy bit is dropped. */
	RULE(LAPIC_ICR,		ALL,	(u32)~LAPIC_ICR_BUSY),
	RULE(LAPIC_ICR2,	X,	0xff000000),
	RULE(LAPIC_LVT_TIMER,	ALL,	LVT_COMMON | LAPIC_LVTT_PERIODIC | LAPIC_LVTT_DEADLINE),
	RULE(LAPIC_LVT_THERMAL,	ALL,	LVT_COMMON | LVT_MODE),
	RULE(LAPIC_LVT_PERF,	ALL,	LVT_COMMON | LVT_MODE),
	RULE(LAPIC_LVT_LINT0,	ALL,	LVT_LINT),
	RULE(LAPIC_LVT_LINT1,	ALL,	LVT_LINT),
	RULE(LAPIC_LVT_ERROR,	ALL,	LVT_COMMON),
	RULE(LAPIC_TMICT,	ALL,	0xffffffff),
	RULE(LAPIC_TMCCT,	RO,	0),
	RULE(LAPIC_TDCR,	ALL,	0xb),
	RULE(LAPIC_SELF_IPI,	W2,	0xff),
};

/* The table's row, with what depends on the configuration taken off; @reg was found to be in it. */
static struct rule rule_of(const struct lapic *l, unsigned int reg)
{
	struct rule r = rules[array_index_nospec(reg / 0x10, LAPIC_REGS_SIZE / 0x10)];

	if (reg == LAPIC_LVT_CMCI && !l->cfg.cmci)
		r.access = 0;
	if (reg == LAPIC_LVT_TIMER && !l->cfg.tsc_deadline)
		r.bits &= ~(u32)LAPIC_LVTT_DEADLINE;
	if (reg == LAPIC_SVR && !l->cfg.directed_eoi)
		r.bits &= ~(u32)LAPIC_SVR_DIRECTED;
	return r;
}

static bool is_lvt(unsigned int reg)
{
	return (reg >= LAPIC_LVT_TIMER && reg <= LAPIC_LVT_ERROR) || reg == LAPIC_LVT_CMCI;
}

bool lapic_timed(unsigned int reg)
{
	return reg == LAPIC_LVT_TIMER || reg == LAPIC_TMICT || reg == LAPIC_TMCCT ||
	       reg == LAPIC_TDCR;
}

static u32 read_reg(const struct lapic *l, unsigned int reg, const struct lapic_now *now)
{
	switch (reg) {
	case LAPIC_EOI:
		return 0;
	case LAPIC_TMCCT:
		return lapic_current_count(l, now->ns);
	}
	return lapic_reg(l, reg);
}

/*
 * What is stored of a value: delivery status, remote IRR and (disabled by software) the mask are
 * not software's.
 */
static u32 clean_value(const struct lapic *l, unsigned int reg, u32 val)
{
	if (reg == LAPIC_DFR)
		return val | 0x0fffffff;
	if (!is_lvt(reg))
		return val;
	val &= ~(u32)(LAPIC_LVT_STATUS | LAPIC_LVT_REMOTE_IRR);
	if (!lapic_sw_enabled(l))
		val |= LAPIC_LVT_MASKED;
	return val;
}

static void write_svr(struct lapic *l, u32 val, struct lapic_effect *fx)
{
	bool was = lapic_sw_enabled(l);
	unsigned int reg;

	lapic_set_reg(l, LAPIC_SVR, val);
	if (was != lapic_sw_enabled(l))
		fx->what |= LAPIC_DID_MAP;
	if (lapic_sw_enabled(l))
		return;
	for (reg = LAPIC_LVT_TIMER; reg <= LAPIC_LVT_ERROR; reg += 0x10)
		lapic_set_reg(l, reg, lapic_reg(l, reg) | LAPIC_LVT_MASKED);
	lapic_set_reg(l, LAPIC_LVT_CMCI, lapic_reg(l, LAPIC_LVT_CMCI) | LAPIC_LVT_MASKED);
	fx->what |= LAPIC_DID_EXTINT;
}

bool lapic_icr(struct lapic *l, u32 icr, u32 dest, struct irq_msg *m)
{
	bool x2apic = lapic_x2apic(l);

	*m = (struct irq_msg){
		.vector		= icr & LAPIC_VECTOR,
		.mode		= (icr >> LAPIC_MODE_SHIFT) & 7,
		.logical	= icr & LAPIC_ICR_LOGICAL,
		.shorthand	= (icr >> LAPIC_ICR_SHORTHAND) & 3,
		.dest		= x2apic ? dest : dest >> 24,
		.broadcast	= x2apic ? dest == ~0u : dest >> 24 == 0xff,
	};
	if ((m->mode == IRQ_MODE_FIXED || m->mode == IRQ_MODE_LOWEST) && m->vector < 16) {
		lapic_error(l, LAPIC_ESR_SEND_ILLEGAL);
		return false;
	}
	/* The INIT level de-assert only ever concerned arbitration IDs. */
	if (m->mode == IRQ_MODE_INIT && icr & LAPIC_ICR_LEVEL && !(icr & LAPIC_ICR_ASSERT))
		return false;
	return m->mode != IRQ_MODE_RESERVED && m->mode != IRQ_MODE_EXTINT;
}

static void to_self(struct lapic *l, struct lapic_effect *fx)
{
	if (lapic_accept(l, &fx->ipi) == LAPIC_ACCEPTED)
		fx->what |= LAPIC_DID_SELF;
}

/* Send an IPI; one to the sender itself needs nobody else. */
static void send_ipi(struct lapic *l, u32 icr, u32 dest, struct lapic_effect *fx)
{
	if (!lapic_icr(l, icr, dest, &fx->ipi))
		return;
	if (fx->ipi.shorthand == IRQ_DEST_SELF && fx->ipi.mode == IRQ_MODE_FIXED)
		to_self(l, fx);
	else
		fx->what |= LAPIC_DID_IPI;
}

static void write_esr(struct lapic *l)
{
	lapic_set_reg(l, LAPIC_ESR, l->errors);
	l->errors = 0;
}

static void write_eoi(struct lapic *l, struct lapic_effect *fx)
{
	bool broadcast;

	fx->eoi = lapic_eoi(l, &broadcast);
	if (broadcast)
		fx->what |= LAPIC_DID_EOI;
}

static void self_ipi(struct lapic *l, u8 vector, struct lapic_effect *fx)
{
	fx->ipi = (struct irq_msg) { .vector = vector };
	if (vector < 16)
		lapic_error(l, LAPIC_ESR_SEND_ILLEGAL);
	to_self(l, fx);
}

/* A store of a value whose bits are all legal. The ICR's upper half is in ICR2 already. */
static void write_reg(struct lapic *l, unsigned int reg, u32 val, const struct lapic_now *now,
		      struct lapic_effect *fx)
{
	val = clean_value(l, reg, val);
	switch (reg) {
	case LAPIC_TPR:
		lapic_set_tpr(l, val);
		break;
	case LAPIC_EOI:
		write_eoi(l, fx);
		break;
	case LAPIC_ID:
	case LAPIC_LDR:
	case LAPIC_DFR:
		lapic_set_reg(l, reg, val);
		fx->what |= LAPIC_DID_MAP;
		break;
	case LAPIC_SVR:
		write_svr(l, val, fx);
		lapic_keep(l);
		break;
	case LAPIC_ESR:
		write_esr(l);
		break;
	case LAPIC_ICR:
		lapic_set_reg(l, reg, val);
		send_ipi(l, val, lapic_reg(l, LAPIC_ICR2), fx);
		break;
	case LAPIC_SELF_IPI:
		self_ipi(l, val, fx);
		break;
	case LAPIC_LVT_TIMER:
	case LAPIC_TMICT:
	case LAPIC_TDCR:
		lapic_timer_write(l, reg, val, now);
		fx->what |= LAPIC_DID_TIMER;
		lapic_keep(l);
		break;
	default:
		lapic_set_reg(l, reg, val);
		if (reg == LAPIC_LVT_LINT0)
			fx->what |= LAPIC_DID_EXTINT;
	}
}

u64 lapic_mmio_read(struct lapic *l, unsigned int offset, unsigned int len,
		    const struct lapic_now *now)
{
	unsigned int reg = offset & ~0xfu, byte = offset & 0xf;
	u64 mask = len < 8 ? (1ull << len * 8) - 1 : ~0ull;

	if (reg >= LAPIC_REGS_SIZE || !(rule_of(l, reg).access & XR)) {
		lapic_error(l, LAPIC_ESR_REGISTER);
		return 0;
	}
	return byte < 4 ? (u64)read_reg(l, reg, now) >> byte * 8 & mask : 0;
}

void lapic_mmio_write(struct lapic *l, unsigned int offset, unsigned int len, u32 val,
		      const struct lapic_now *now, struct lapic_effect *fx)
{
	struct rule r;

	if (len != 4 || offset & 0xf)
		return;
	if (offset >= LAPIC_REGS_SIZE || !(rule_of(l, offset).access & X)) {
		lapic_error(l, LAPIC_ESR_REGISTER);
		return;
	}
	r = rule_of(l, offset);
	if (r.access & XW)
		write_reg(l, offset, val & r.bits, now, fx);
}

void lapic_written(struct lapic *l, unsigned int reg, const struct lapic_now *now,
		   struct lapic_effect *fx)
{
	const struct lapic_kept was = l->kept;
	u32 val = lapic_reg(l, reg);

	lapic_set_reg(l, LAPIC_EOI, 0);
	/* All of them: an instruction can write more than the one that it exits for. */
	lapic_set_reg(l, LAPIC_SVR, was.svr);
	lapic_set_reg(l, LAPIC_LVT_TIMER, was.lvtt);
	lapic_set_reg(l, LAPIC_TMICT, was.tmict);
	lapic_set_reg(l, LAPIC_TDCR, was.tdcr);
	lapic_mmio_write(l, reg, 4, val, now, fx);
}

/* Register of an x2APIC MSR if the access exists, else 0, which no register has */
static unsigned int x2_reg(const struct lapic *l, u32 msr, u8 access)
{
	unsigned int reg = (msr - LAPIC_X2APIC_MSR) * 0x10;

	if (!lapic_x2apic(l) || reg >= LAPIC_REGS_SIZE)
		return 0;
	return rule_of(l, reg).access & access ? reg : 0;
}

int lapic_rdmsr(const struct lapic *l, u32 msr, u64 *val, const struct lapic_now *now)
{
	unsigned int reg = x2_reg(l, msr, R2);

	if (!reg)
		return 1;
	*val = read_reg(l, reg, now);
	if (reg == LAPIC_ICR)
		*val |= (u64)lapic_reg(l, LAPIC_ICR2) << 32;
	return 0;
}

/* Both timer mode bits together are reserved, too. */
static bool reserved_timer_mode(u32 val)
{
	return (val & (LAPIC_LVTT_PERIODIC | LAPIC_LVTT_DEADLINE)) ==
	       (LAPIC_LVTT_PERIODIC | LAPIC_LVTT_DEADLINE);
}

int lapic_wrmsr(struct lapic *l, u32 msr, u64 val, const struct lapic_now *now,
		struct lapic_effect *fx)
{
	unsigned int reg = x2_reg(l, msr, W2);

	if (!reg)
		return 1;
	if (reg == LAPIC_ICR) {
		if (val & LAPIC_ICR_X2_RESERVED)
			return 1;
		lapic_set_reg(l, LAPIC_ICR2, val >> 32);
		write_reg(l, reg, (u32)val & ~(u32)LAPIC_ICR_BUSY, now, fx);
		return 0;
	}
	if (val & ~(u64)rule_of(l, reg).bits ||
	    (reg == LAPIC_LVT_TIMER && reserved_timer_mode(val)))
		return 1;
	write_reg(l, reg, val, now, fx);
	return 0;
}
