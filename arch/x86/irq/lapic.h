/* SPDX-License-Identifier: GPL-2.0 */
/*
 * One local APIC as a value: registers in, interrupts out, time as an argument.
 *
 * Only the vCPU's own thread changes a struct lapic. Other threads collect vectors in bitmaps that
 * belong to the layer around this one, which the vCPU's thread merges with lapic_drain(), and of
 * which images get a copy (struct lapic_posted); destinations are matched against a struct
 * lapic_addr, a copy of the few fields that matter, so nobody reads the registers of a running
 * APIC.
 *
 * Invariants: @irr_max and @isr_max are the highest bits of IRR and ISR (0: none, as vectors below
 * 16 do not exist); the PPR in the page and @pending follow TPR, ISR and IRR after every call;
 * getters take a const lapic.
 */
#ifndef STRATA_LAPIC_H
#define STRATA_LAPIC_H

#include "lapic_regs.h"
#include "msg.h"

#include <linux/types.h>
#include <linux/kvm.h>

/**
 * struct lapic_config - what the VM decides about a local APIC
 * @id: x2APIC ID, which is the vCPU's id
 * @bus_ns: length of one bus cycle in nanoseconds, see lapic_bus_ns_valid(); the API's default is 1
 * @min_period_ns: shortest time between two expiries of the periodic timer: what a guest can make
 *	the host do by programming it; 0 for no limit
 * @maxphyaddr: width of guest physical addresses, for the APIC base
 * @bsp: the bootstrap processor
 * @x2apic: CPUID offers x2APIC
 * @tsc_deadline: CPUID offers the TSC-deadline timer
 * @cmci: IA32_MCG_CAP offers CMCI, so there is an LVT entry for it
 * @directed_eoi: EOI broadcasts can be suppressed
 * @pmi_masks: delivery of a performance-monitoring interrupt sets the LVT's mask bit (Intel)
 * @lint0_extint: LINT0 is unmasked ExtINT after reset (KVM_X86_QUIRK_LINT0_REENABLED on the BSP)
 * @ids32: KVM_X2APIC_API_USE_32BIT_IDS
 */
struct lapic_config {
	u32 id;
	u32 bus_ns;
	u32 min_period_ns;
	u8 maxphyaddr;
	bool bsp;
	bool x2apic;
	bool tsc_deadline;
	bool cmci;
	bool directed_eoi;
	bool pmi_masks;
	bool lint0_extint;
	bool ids32;
};

/**
 * struct lapic_kept - registers of which a write must know what was there, as it was when the model
 * wrote them last
 * @svr: LAPIC_SVR
 * @lvtt: LAPIC_LVT_TIMER
 * @tmict: LAPIC_TMICT
 * @tdcr: LAPIC_TDCR
 */
struct lapic_kept {
	u32 svr, lvtt, tmict, tdcr;
};

/**
 * struct lapic - a local APIC
 * @regs: the register page, at least LAPIC_REGS_SIZE bytes; the layer around owns the memory
 * @pending: vector that the processor can take now, 0 if none
 * @irr_max: highest vector in IRR, 0 if none
 * @isr_max: highest vector in ISR, 0 if none
 * @armed: one-shot or periodic timer runs
 * @base: IA32_APIC_BASE
 * @expiry: when @armed: host time of the next expiry, nanoseconds
 * @deadline: IA32_TSC_DEADLINE in guest TSC ticks, 0 if disarmed; means something in
 *	TSC-deadline mode only
 * @errors: ESR bits collected since the last write to the ESR
 * @kept: for lapic_written()
 * @cfg: constant while the vCPU runs; lapic_configured() after a change
 */
struct lapic {
	u32 *regs;
	u8 pending;
	u8 irr_max;
	u8 isr_max;
	bool armed;
	u32 errors;
	u64 base;
	u64 expiry;
	u64 deadline;
	struct lapic_kept kept;
	struct lapic_config cfg;
};

/**
 * struct lapic_now - the present
 * @ns: host monotonic time
 * @tsc: the guest's TSC
 */
struct lapic_now {
	u64 ns;
	u64 tsc;
};

/**
 * struct lapic_posted - vectors on their way into one local APIC
 * @irr: bit per vector
 * @level: those of @irr that are level-triggered
 */
struct lapic_posted {
	u64 irr[4];
	u64 level[4];
};

/* What an access asks of the layer around, bits of struct lapic_effect's @what */
#define LAPIC_DID_IPI		BIT(0)	/* send @ipi */
#define LAPIC_DID_EOI		BIT(1)	/* broadcast the EOI of @eoi to the IOAPICs */
#define LAPIC_DID_TIMER		BIT(2)	/* lapic_timer_next() changed */
#define LAPIC_DID_MAP		BIT(3)	/* lapic_addr() changed */
#define LAPIC_DID_EXTINT	BIT(4)	/* lapic_takes_extint() may have changed */
#define LAPIC_DID_SELF		BIT(5)	/* @ipi, to itself, is in the IRR */

/**
 * struct lapic_effect - side effects of a register access; the caller clears @what first
 * @what: LAPIC_DID_* bits
 * @eoi: vector of LAPIC_DID_EOI
 * @ipi: message of LAPIC_DID_IPI or LAPIC_DID_SELF
 */
struct lapic_effect {
	u8 what;
	u8 eoi;
	struct irq_msg ipi;
};

/**
 * enum lapic_action - what an accepted message means for the processor
 * @LAPIC_IGNORED: not for this APIC in its present state
 * @LAPIC_ACCEPTED: a new IRR bit
 * @LAPIC_COALESCED: the IRR bit was set already
 * @LAPIC_SMI: SMI, and so on: to the vCPU's inbox
 * @LAPIC_NMI: NMI
 * @LAPIC_INIT: INIT
 * @LAPIC_SIPI: start-up IPI, vector as in the message
 * @LAPIC_EXTINT: interrupt whose vector the 8259A gives
 */
enum lapic_action {
	LAPIC_IGNORED,
	LAPIC_ACCEPTED,
	LAPIC_COALESCED,
	LAPIC_SMI,
	LAPIC_NMI,
	LAPIC_INIT,
	LAPIC_SIPI,
	LAPIC_EXTINT,
};

/* Which clock the timer waits for */
enum lapic_clock { LAPIC_CLOCK_NONE, LAPIC_CLOCK_NS, LAPIC_CLOCK_TSC };

static inline u32 lapic_reg(const struct lapic *l, unsigned int reg)
{
	return l->regs[reg / 4];
}

static inline void lapic_set_reg(struct lapic *l, unsigned int reg, u32 val)
{
	l->regs[reg / 4] = val;
}

static inline bool lapic_enabled(const struct lapic *l)
{
	return l->base & LAPIC_BASE_EN;
}

static inline bool lapic_x2apic(const struct lapic *l)
{
	return (l->base & (LAPIC_BASE_EN | LAPIC_BASE_EXTD)) == (LAPIC_BASE_EN | LAPIC_BASE_EXTD);
}

/* Software enable bit; lapic_enabled() is another question */
static inline bool lapic_sw_enabled(const struct lapic *l)
{
	return lapic_reg(l, LAPIC_SVR) & LAPIC_SVR_ENABLED;
}

/**
 * lapic_pending_vector() - the interrupt the processor can take now
 * @l: the local APIC
 *
 * One load: the answer is kept up to date by everything that could change it.
 *
 * Return: vector 16..255, or 0 for none.
 */
static inline u8 lapic_pending_vector(const struct lapic *l)
{
	return l->pending;
}

/**
 * lapic_tpr_threshold() - the class that TPR must fall below for a pending interrupt to be taken
 * @l: the local APIC
 *
 * Return: 1..15, not above TPR's class; 0 if nothing waits for that.
 */
static inline u8 lapic_tpr_threshold(const struct lapic *l)
{
	if (l->pending || !lapic_enabled(l) || (l->irr_max & 0xf0) <= (l->isr_max & 0xf0))
		return 0;
	return l->irr_max >> 4;
}

/* lapic.c: priorities, acceptance and acknowledgement */

/**
 * lapic_init() - a local APIC after power-up
 * @l: the local APIC
 * @regs: its register page
 * @cfg: copied
 */
void lapic_init(struct lapic *l, u32 *regs, const struct lapic_config *cfg);

/**
 * lapic_reset() - RESET or INIT (SDM, "Local APIC State After Power-Up or Reset" and "After It
 * Receives an INIT-Deassert IPI")
 * @l: the local APIC
 * @init: INIT, which keeps the APIC base and the APIC ID
 */
void lapic_reset(struct lapic *l, bool init);

/* lapic_configured(): @l->cfg was changed by userspace (CPUID, MCG_CAP, capabilities). */
void lapic_configured(struct lapic *l);

/**
 * lapic_accept() - take a message that was found to be for this APIC
 * @l: the local APIC
 * @m: the message; destination and arbitration are the caller's
 *
 * Return: what happened, or what the vCPU has to do.
 */
enum lapic_action lapic_accept(struct lapic *l, const struct irq_msg *m);

/**
 * lapic_local() - an interrupt source of the local vector table signals
 * @l: the local APIC
 * @lvt: LAPIC_LVT_*
 *
 * Return: as lapic_accept(); LAPIC_IGNORED if masked.
 */
enum lapic_action lapic_local(struct lapic *l, enum lapic_reg lvt);

/**
 * lapic_drain() - merge vectors collected by other threads
 * @l: the local APIC
 * @word: 0..3: vectors from 64 * @word on
 * @irr: the vectors, a bit each
 * @level: those of @irr that are level-triggered; a vector posted both ways counts as one
 */
void lapic_drain(struct lapic *l, unsigned int word, u64 irr, u64 level);

/* lapic_ack(): the processor takes lapic_pending_vector(): IRR to ISR. Returns it, 0 for none. */
u8 lapic_ack(struct lapic *l);

/**
 * lapic_eoi() - end of interrupt (SDM, "Signaling Interrupt Servicing Completion")
 * @l: the local APIC
 * @broadcast: set if the IOAPICs must hear of it
 *
 * Return: the vector whose service ended, 0 for none.
 */
u8 lapic_eoi(struct lapic *l, bool *broadcast);

/*
 * Nobody waits for the end of @vector, just acknowledged: it is edge-triggered and nothing is
 * behind it.
 */
bool lapic_eoi_can_wait(const struct lapic *l, u8 vector);

/* lapic_eoi_broadcasts(): the IOAPICs must hear of the end of this vector's service. */
bool lapic_eoi_broadcasts(const struct lapic *l, u8 vector);

void lapic_set_tpr(struct lapic *l, u8 tpr);

static inline u8 lapic_cr8(const struct lapic *l)
{
	return lapic_reg(l, LAPIC_TPR) >> 4;
}

static inline void lapic_set_cr8(struct lapic *l, u8 cr8)
{
	lapic_set_tpr(l, (cr8 & 0xf) << 4);
}

/*
 * lapic_takes_extint(): the 8259A's interrupt reaches the processor (LINT0 as ExtINT, or no APIC at
 * all).
 */
bool lapic_takes_extint(const struct lapic *l);

/* lapic_error(): collect ESR bits, raise the error interrupt if they are new. */
void lapic_error(struct lapic *l, u32 bits);

/*
 * lapic_refresh(): compute caches, PPR and @pending anew from the page, after somebody wrote there
 * (APICv, set).
 */
void lapic_refresh(struct lapic *l);

/* lapic_access.c: registers through MMIO and MSRs */

/*
 * lapic_timed(): accesses to this register need the present (struct lapic_now); others may pass
 * NULL.
 */
bool lapic_timed(unsigned int reg);

/**
 * lapic_mmio_read() - a load from the xAPIC register page
 * @l: the local APIC; not in x2APIC mode, not disabled
 * @offset: 0..0xfff
 * @len: 1, 2, 4 or 8
 * @now: see lapic_timed()
 *
 * What is not a naturally aligned double-word is undefined in the manual; here bytes of the
 * register are given, and zero beyond it.
 */
u64 lapic_mmio_read(struct lapic *l, unsigned int offset, unsigned int len,
		    const struct lapic_now *now);

/**
 * lapic_mmio_write() - a store to the xAPIC register page
 * @l: the local APIC; not in x2APIC mode, not disabled
 * @offset: 0..0xfff
 * @len: only double-words at 16-byte boundaries have an effect
 * @val: value
 * @now: see lapic_timed()
 * @fx: side effects
 */
void lapic_mmio_write(struct lapic *l, unsigned int offset, unsigned int len, u32 val,
		      const struct lapic_now *now, struct lapic_effect *fx);

/**
 * lapic_written() - the CPU stored a register into the page for the guest (APIC-write exit)
 * @l: the local APIC, in xAPIC mode
 * @reg: the register
 * @now: see lapic_timed()
 * @fx: side effects
 *
 * The same as lapic_mmio_write() of the value that is in the page now.
 */
void lapic_written(struct lapic *l, unsigned int reg, const struct lapic_now *now,
		   struct lapic_effect *fx);

/**
 * lapic_rdmsr() - RDMSR of LAPIC_X2APIC_MSR..LAPIC_X2APIC_MSR_LAST
 * @l: the local APIC
 * @msr: MSR index
 * @val: result
 * @now: see lapic_timed()
 *
 * Return: 0, or 1 for #GP.
 */
int lapic_rdmsr(const struct lapic *l, u32 msr, u64 *val, const struct lapic_now *now);

/* lapic_wrmsr(): WRMSR, as lapic_rdmsr(); on #GP nothing has changed. */
int lapic_wrmsr(struct lapic *l, u32 msr, u64 val, const struct lapic_now *now,
		struct lapic_effect *fx);

/*
 * lapic_icr(): the message of an ICR write; false if it sends none. @dest is ICR2, or the upper
 * half in x2APIC mode.
 */
bool lapic_icr(struct lapic *l, u32 icr, u32 dest, struct irq_msg *m);

/* lapic_keep(): @l->kept follows the page, which the model has written. */
static inline void lapic_keep(struct lapic *l)
{
	l->kept = (struct lapic_kept) {
		.svr	= lapic_reg(l, LAPIC_SVR),
		.lvtt	= lapic_reg(l, LAPIC_LVT_TIMER),
		.tmict	= lapic_reg(l, LAPIC_TMICT),
		.tdcr	= lapic_reg(l, LAPIC_TDCR),
	};
}

/* lapic_timer.c */

/*
 * lapic_bus_ns_valid(): a length of bus cycle that no timer computation overflows with
 * (KVM_CAP_X86_APIC_BUS_CYCLES_NS).
 */
bool lapic_bus_ns_valid(u64 ns);

/* lapic_timer_next(): when lapic_timer_fire() has work to do; on which clock, and @when on it. */
enum lapic_clock lapic_timer_next(const struct lapic *l, u64 *when);

/**
 * lapic_timer_fire() - let the timer expire if its time has come
 * @l: the local APIC
 * @now: the present
 *
 * Periods that passed unnoticed are one interrupt, as in the IRR, and so are those that are shorter
 * than lapic_config.min_period_ns allows; the phase is kept.
 *
 * Return: it expired (and interrupted, unless masked).
 */
bool lapic_timer_fire(struct lapic *l, const struct lapic_now *now);

/* lapic_timer_fire_ns(): the same, but only the timer modes that count bus cycles. */
bool lapic_timer_fire_ns(struct lapic *l, u64 ns);

/* lapic_current_count(): the TMCCT register. */
u32 lapic_current_count(const struct lapic *l, u64 ns);

/* IA32_TSC_DEADLINE as the guest reads and writes it: inert outside TSC-deadline mode */
u64 lapic_tsc_deadline(const struct lapic *l);
void lapic_set_tsc_deadline(struct lapic *l, u64 deadline, u64 tsc);

/*
 * lapic_restore_tsc_deadline(): SET of IA32_TSC_DEADLINE: kept until KVM_SET_LAPIC brings the LVT
 * entry it belongs to.
 */
void lapic_restore_tsc_deadline(struct lapic *l, u64 deadline);

/* lapic_timer_write(): TMICT, TDCR or LVTT; @val is legal. Part of lapic_access.c's writes. */
void lapic_timer_write(struct lapic *l, unsigned int reg, u32 val, const struct lapic_now *now);

/*
 * lapic_timer_save(), lapic_timer_restore(): TMCCT and the LAPIC_IMAGE_* words of a page that is an
 * image.
 */
void lapic_timer_save(struct lapic *l, u64 ns);
void lapic_timer_restore(struct lapic *l, u64 ns);

/* lapic_state.c: IA32_APIC_BASE and the images of KVM_GET_LAPIC, KVM_SET_LAPIC */

/**
 * lapic_set_base() - WRMSR of IA32_APIC_BASE (SDM, "Local APIC State Transitions"), or SET of it
 * @l: the local APIC
 * @val: the new value
 * @host: userspace sets it: from any mode to any other, registers stay
 *
 * Return: 0; 1 for #GP (@host: -EINVAL), with nothing changed.
 */
int lapic_set_base(struct lapic *l, u64 val, bool host);

/**
 * lapic_get_state() - KVM_GET_LAPIC
 * @l: the local APIC
 * @posted: vectors on their way, shown as if they had arrived; NULL for none
 * @ns: host time
 * @s: the image; aligned for double-words
 *
 * A counting timer that has expired but did not yet interrupt is shown as if it had. (In
 * TSC-deadline mode it is not: IA32_TSC_DEADLINE, read separately, still says when.)
 */
void lapic_get_state(const struct lapic *l, const struct lapic_posted *posted, u64 ns,
		     struct kvm_lapic_state *s);

/**
 * lapic_set_state() - KVM_SET_LAPIC
 * @l: the local APIC
 * @s: the image; aligned for double-words. Reserved bits are dropped, read-only registers stay
 * @ns: host time
 *
 * IA32_TSC_DEADLINE is not touched, so both orders of setting it and this give the same.
 *
 * Return: 0, or -EINVAL if the x2APIC ID is not this vCPU's (x2APIC mode with
 * KVM_X2APIC_API_USE_32BIT_IDS).
 */
int lapic_set_state(struct lapic *l, const struct kvm_lapic_state *s, u64 ns);

#endif
