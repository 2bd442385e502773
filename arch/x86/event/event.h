/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The event queue: what is on its way into the guest, and in which order.
 *
 * One queue per vCPU, a plain value that only the vCPU's own thread touches: it may be copied,
 * compared (memcmp: there is no padding) and printed. Every decision about it is a pure function of
 * the queue and of a snapshot of what blocks the guest (struct event_view); backends carry
 * decisions out and report what the CPU did. Other threads never write here: they set bits in the
 * vCPU's inbox, which the run loop drains with event_drain().
 *
 * An event of an in-kernel interrupt controller is never stored: event_next() asks for its
 * acknowledgement once entry is certain.
 *
 * The order of calls in a run loop, and the states an event goes through, are drawn in
 * Documentation/events.rst.
 */
#ifndef STRATA_EVENT_H
#define STRATA_EVENT_H

#include <linux/types.h>

#include "rule.h"

/**
 * enum event_type - how the CPU would have delivered the event by itself
 * @EVENT_NONE: no event
 * @EVENT_INTERRUPT: external interrupt
 * @EVENT_NMI: non-maskable interrupt, vector 2
 * @EVENT_EXCEPTION: hardware exception
 * @EVENT_SOFT_INT: INT n
 * @EVENT_SOFT_EXCEPTION: INT3 or INTO
 * @EVENT_PRIV_EXCEPTION: INT1 (ICEBP)
 */
enum event_type {
	EVENT_NONE,
	EVENT_INTERRUPT,
	EVENT_NMI,
	EVENT_EXCEPTION,
	EVENT_SOFT_INT,
	EVENT_SOFT_EXCEPTION,
	EVENT_PRIV_EXCEPTION,
};

/* Vectors that the rules know by number */
#define EVENT_DB	1
#define EVENT_NMI_VECTOR 2
#define EVENT_BP	3
#define EVENT_OF	4
#define EVENT_DF	8
#define EVENT_PF	14
#define EVENT_MC	18

/**
 * struct event - one event
 * @type: enum event_type
 * @vector: 0..255; 0..31 for exceptions
 * @len: length of the instruction that raised a soft event, 0..15 bytes
 * @has_error: @error is pushed
 * @has_payload: @payload is not yet in its register
 * @replay: a soft event whose RIP is still at its instruction: it happens again by itself if it is
 *	forgotten
 * @error: error code
 * @payload: for #PF the faulting linear address (CR2), for #DB the bits that enter DR6
 *	(active-high: bit set = cause holds; bit 16 set = RTM is to be cleared in DR6)
 */
struct event {
	u8 type;
	u8 vector;
	u8 len;
	bool has_error;
	bool has_payload;
	bool replay;
	u8 pad[2];
	u32 error;
	u32 pad2;
	u64 payload;
};

/**
 * struct event_queue - everything on its way into one vCPU
 * @delivering: an event that the CPU had begun to deliver, or that L1 asked to be injected into L2;
 *	enters next, unconditionally
 * @exception: recognised, delivery not begun
 * @set_aside: what userspace says is being delivered, set while @run_pending: yields to L1's event
 *	at the next run, and takes its place if KVM_SET_NESTED_STATE ends that entry first
 * @pending_dbg: trap causes held back by a MOV SS shadow (DR6 layout as in struct event's payload)
 * @smm_dbg: trap causes that an SMI overtook; a #DB again after RSM
 * @active: the eight fields below as one word, for event_idle()
 * @irq_stashed: 0..2 external interrupts wait: @irq_vector, of KVM_INTERRUPT or of a SET, or held
 *	back when its delivery had begun; then @irq_next
 * @nmi_pending: 0..2
 * @smi: an SMI is pending
 * @init: an INIT is latched
 * @sipi: a SIPI with @sipi_vector is latched
 * @triple_fault: shutdown is pending
 * @mtf: a monitor trap is pending (nested VMX)
 * @timer: L1's preemption timer expired (nested VMX)
 * @exception_user: @exception was set by userspace since the last run (survives SET_REGS)
 * @irq_vector: the stash
 * @irq_next: the second interrupt of the stash
 * @irq_unsettled: the stash was set through KVM_SET_VCPU_EVENTS/SREGS and is settled at the next
 *	run (either into @delivering or it stays in the stash)
 * @irq_soft: with @irq_unsettled: userspace says it is INT n, length to be found by decoding
 * @nmi_masked: an NMI handler runs (no IRET yet)
 * @run_pending: a nested VM entry was begun and @delivering belongs to vmcb12/vmcs12 (DESIGN
 *	invariant 4)
 * @smm: in system management mode
 * @smm_inside_nmi: SMM was entered with NMIs masked
 * @sipi_vector: of @sipi
 */
struct event_queue {
	struct event delivering;
	struct event exception;
	struct event set_aside;
	u64 pending_dbg;
	u64 smm_dbg;
	union {
		u64 active;
		struct {
			u8 irq_stashed;
			u8 nmi_pending;
			bool smi;
			bool init;
			bool sipi;
			bool triple_fault;
			bool mtf;
			bool timer;
		};
	};
	bool exception_user;
	u8 irq_vector;
	u8 irq_next;
	bool irq_unsettled;
	bool irq_soft;
	bool nmi_masked;
	bool run_pending;
	bool smm;
	bool smm_inside_nmi;
	u8 sipi_vector;
	u8 pad[6];
};

/*
 * Bits of the inbox, the only word other threads write. Who sets INIT clears SIPI first: INIT
 * supersedes an older SIPI.
 */
#define INBOX_NMI	0	/* one more NMI */
#define INBOX_NMI2	1	/* and a second one */
#define INBOX_SMI	2
#define INBOX_INIT	3
#define INBOX_SIPI	4	/* vector in the vCPU's sipi_vector, written before the bit */
#define INBOX_TRIPLE	5

/* Interrupt shadows */
#define SHADOW_STI	1
#define SHADOW_MOV_SS	2

enum event_irqchip { IRQCHIP_NONE, IRQCHIP_SPLIT, IRQCHIP_FULL };

/**
 * struct event_view - what blocks the guest, as a snapshot
 * @intr_open: IF of the level that takes an interrupt is set (L1's IF under V_INTR_MASKING or
 *	external-interrupt exiting, else the guest's)
 * @gif: global interrupt flag (always true where there is none)
 * @shadow: SHADOW_* bits
 * @nmi_sti_blocked: an STI shadow blocks NMIs too (VMX; not SVM)
 * @guest_mode: the vCPU runs L2
 * @irqchip: who owns the interrupt controllers
 * @chip_vector: the in-kernel controllers offer an interrupt
 * @chip_accepts_extint: split irqchip: the local APIC takes an ExtINT
 * @want_window: userspace set request_interrupt_window
 * @wait_for_sipi: MP state INIT_RECEIVED or UNINITIALIZED
 * @uninitialized: MP state UNINITIALIZED: nothing starts before a first INIT
 * @vmxon: INIT is blocked (VMX root operation outside guest mode)
 * @l1_exceptions: exception vectors that L1 intercepts (L2 only)
 * @l1_pf_mask: #PF with (error & @l1_pf_mask) != @l1_pf_match is intercepted if bit 14 of
 *	@l1_exceptions is *clear* (VMX page-fault error-code mask and match; both 0 elsewhere)
 * @l1_pf_match: see @l1_pf_mask
 * @l1_intr: L1 intercepts external interrupts
 * @l1_nmi: L1 intercepts NMIs
 * @l1_smi: L1 intercepts SMIs
 * @l1_init: L1 intercepts INIT
 * @l1_shutdown: L1 intercepts shutdown (always, on VMX)
 * @l1_exit_takes: an exit to L1 for an NMI or INIT consumes it (VMX); else it stays pending behind
 *	GIF=0 (SVM)
 * @l1_ack_intr: an exit to L1 for an interrupt acknowledges it (VMX "acknowledge interrupt on
 *	exit")
 * @l1_pending_dbg: L1's control block has a field for pending debug exceptions (VMX)
 */
struct event_view {
	bool intr_open;
	bool gif;
	u8 shadow;
	bool nmi_sti_blocked;
	bool guest_mode;
	u8 irqchip;
	bool chip_vector;
	bool chip_accepts_extint;
	bool want_window;
	bool wait_for_sipi;
	bool uninitialized;
	bool vmxon;
	u32 l1_exceptions;
	u32 l1_pf_mask;
	u32 l1_pf_match;
	bool l1_intr, l1_nmi, l1_smi, l1_init, l1_shutdown;
	bool l1_exit_takes, l1_ack_intr, l1_pending_dbg;
};

/**
 * enum event_step - what the run loop has to do next
 * @STEP_ENTER: enter the guest, injecting @delivering if there is one
 * @STEP_ACK_ENTER: acknowledge the controllers' interrupt, put it in with event_acked(), enter
 * @STEP_WINDOW_EXIT: return KVM_EXIT_IRQ_WINDOW_OPEN
 * @STEP_SHUTDOWN: return KVM_EXIT_SHUTDOWN
 * @STEP_SMI: enter SMM; the queue already says so
 * @STEP_INIT: perform INIT; the queue already is as INIT leaves it
 * @STEP_SIPI: start at the SIPI vector (event_plan.event.vector)
 * @STEP_NESTED_EXIT: a VM exit to L1; event_plan.cause says why
 * @STEP_WAIT: nothing runs before a SIPI or INIT arrives
 */
enum event_step {
	STEP_ENTER,
	STEP_ACK_ENTER,
	STEP_WINDOW_EXIT,
	STEP_SHUTDOWN,
	STEP_SMI,
	STEP_INIT,
	STEP_SIPI,
	STEP_NESTED_EXIT,
	STEP_WAIT,
};

enum event_cause {
	CAUSE_NONE,
	CAUSE_EXCEPTION,	/* event_plan.event intercepted by L1; its payload belongs to the exit, not CR2/DR6 */
	CAUSE_INTR,		/* event_plan.event is the interrupt if it was in the stash and @l1_ack_intr */
	CAUSE_NMI,
	CAUSE_SMI,
	CAUSE_INIT,
	CAUSE_SIPI,		/* event_plan.event.vector */
	CAUSE_SHUTDOWN,
	CAUSE_MTF,
	CAUSE_TIMER,
};

/**
 * struct event_plan - the outcome of event_next()
 * @step: enum event_step
 * @cause: enum event_cause of a STEP_NESTED_EXIT
 * @irq_window: ask the CPU for an exit when the guest can take an interrupt
 * @nmi_window: the same for NMIs
 * @smi_window: an SMI waits for GIF
 * @gif_window: something (SMI, INIT, NMI or an interrupt) waits for GIF: exit at STGI
 * @trap_window: traps wait for the end of a MOV SS shadow: the CPU is to hold them, or to exit
 *	behind the shadowed instruction
 * @exit_soon: something waits only until this entry is over: exit again at once after the injection
 * @apply: @event, an exception, has just begun delivery: its payload, if it has one, enters CR2 or
 *	DR6 now
 * @set_rf: with @apply: it is a fault that software recognised: RFLAGS.RF is to be set in the image
 *	that is pushed
 * @event: the event concerned
 * @vectoring: with STEP_NESTED_EXIT: the event whose delivery was interrupted (EXITINTINFO,
 *	IDT-vectoring information)
 * @pending_dbg: with STEP_NESTED_EXIT: causes for L1's pending-debug-exceptions field, if it has
 *	one
 */
struct event_plan {
	u8 step;
	u8 cause;
	bool irq_window;
	bool nmi_window;
	bool smi_window;
	bool gif_window;
	bool trap_window;
	bool exit_soon;
	bool apply;
	bool set_rf;
	struct event event;
	struct event vectoring;
	u64 pending_dbg;
};

/**
 * event_idle() - nothing to decide before the next entry
 * @q: the queue
 *
 * The enter path's only test when nothing happens. Windows userspace asks for and the
 * controllers' interrupts are the caller's other tests.
 *
 * A nested entry that injects nothing (@run_pending alone) is idle too.
 */
static inline bool event_idle(const struct event_queue *q)
{
	return !(q->active | q->delivering.type | q->exception.type | q->pending_dbg);
}

/**
 * event_only_chip() - nothing but an interrupt of the controllers is to be decided about, and it
 * can go in
 * @q: the queue
 * @v: the guest's blocking state
 *
 * event_next() would say STEP_ACK_ENTER and change nothing. If the controllers offer no other one
 * once it is acknowledged, no window is to be asked for.
 */
static inline bool event_only_chip(const struct event_queue *q, const struct event_view *v)
{
	return event_idle(q) && v->chip_vector && v->intr_open && v->gif &&
	       !(v->shadow | v->want_window | v->guest_mode | v->wait_for_sipi | q->run_pending);
}

/**
 * event_is_soft() - raised by an INT n, INT3, INTO or INT1 instruction
 * @e: the event
 */
static inline bool event_is_soft(const struct event *e)
{
	return e->type >= EVENT_SOFT_INT;
}

/**
 * event_lacks_length() - a soft event of which only decoding can tell how long its instruction is
 * @e: the event
 */
static inline bool event_lacks_length(const struct event *e)
{
	return event_is_soft(e) && !e->len;
}

/**
 * event_is_exception() - an exception, also one of an instruction that has no other purpose
 * @type: EVENT_*
 */
static inline bool event_is_exception(u8 type)
{
	return type == EVENT_EXCEPTION || type == EVENT_SOFT_EXCEPTION ||
	       type == EVENT_PRIV_EXCEPTION;
}

/**
 * event_raise() - an exception is recognised (intercepted, or raised by the emulator)
 * @q: the queue
 * @e: the exception
 *
 * The caller has already asked L1's intercepts where the exit itself is one (event_next() asks for
 * those that come later). With an event in @delivering the two are merged at event_settle(): #DF,
 * triple fault, or the second one first. RIP is at the instruction of a soft one.
 */
void event_raise(struct event_queue *q, const struct event *e);

/**
 * event_user_exception() - userspace injects an exception
 * @q: the queue, with no exception in it
 * @e: the exception; a soft one has RIP at its instruction, but does not happen again by itself
 *
 * Until the next run event_drop_exception() leaves it.
 */
static inline void event_user_exception(struct event_queue *q, const struct event *e)
{
	q->exception = *e;
	q->exception_user = true;
}

/**
 * event_machine_check() - userspace raises a machine check
 * @q: the queue
 * @v: the guest's blocking state
 *
 * It overtakes what is there (SDM "Priority Among Concurrent Events", first row): an exception is
 * raised again by its instruction, causes of a trap, interrupts and NMIs are held pending. Like
 * other exceptions of userspace it survives event_drop_exception() until the next run.
 */
void event_machine_check(struct event_queue *q, const struct event_view *v);

/**
 * event_raise_triple() - shutdown is raised by other means than a merge: failed RSM, abort of a
 * nested exit
 * @q: the queue
 */
void event_raise_triple(struct event_queue *q);

/**
 * event_exit() - the CPU came back from guest mode
 * @q: the queue
 * @vectoring: the event whose delivery the exit interrupted (type EVENT_NONE if none); whatever was
 *	in @delivering has otherwise been delivered. A soft one has RIP at its instruction: the
 *	backend sees to that.
 */
void event_exit(struct event_queue *q, const struct event *vectoring);

/**
 * event_settle() - merge @delivering and @exception; after it they do not coexist
 * @q: the queue
 * @v: the guest's blocking state
 * @p: filled in only if true is returned
 *
 * Called by event_next(), and by the run loop before KVM_RUN returns.
 * Manuals: SDM "Interrupt 8 - Double Fault Exception (#DF)", APM "#DF - Double-Fault Exception".
 *
 * Return: true if L1 takes the second exception: @p is a STEP_NESTED_EXIT.
 */
bool event_settle(struct event_queue *q, const struct event_view *v, struct event_plan *p);

/**
 * event_next() - decide the next step
 * @q: the queue; changed only for the step it returns
 * @v: the guest's blocking state
 * @p: the outcome
 *
 * May be called again before the entry it planned took place (the entry was given up, or the plan
 * was carried out): a second call with the same view gives the same plan, without @apply and
 * @set_rf.
 */
void event_next(struct event_queue *q, const struct event_view *v, struct event_plan *p);

/**
 * event_acked() - the controllers' interrupt, acknowledged after STEP_ACK_ENTER
 * @q: the queue
 * @vector: what the controllers gave
 */
static inline void event_acked(struct event_queue *q, u8 vector)
{
	q->delivering = (struct event) { .type = EVENT_INTERRUPT, .vector = vector };
}

/**
 * event_drain() - move inbox bits into the queue
 * @q: the queue
 * @inbox: the word as fetched-and-cleared
 * @sipi_vector: the vCPU's sipi_vector
 */
void event_drain(struct event_queue *q, unsigned long inbox, u8 sipi_vector);

/**
 * event_place() - there is room for an interrupt from userspace (DESIGN invariant 7)
 * @q: the queue
 * @v: the guest's blocking state
 */
bool event_place(const struct event_queue *q, const struct event_view *v);

/**
 * event_open() - an interrupt would be taken at the next entry (DESIGN invariant 7)
 * @q: the queue
 * @v: the guest's blocking state
 */
bool event_open(const struct event_queue *q, const struct event_view *v);

/**
 * event_ready() - ready_for_interrupt_injection (DESIGN invariant 7)
 * @q: the queue
 * @v: the guest's blocking state
 */
bool event_ready(const struct event_queue *q, const struct event_view *v);

/**
 * event_wakes() - a halted vCPU has a reason to run
 * @q: the queue
 * @v: the guest's blocking state
 *
 * Blocked events do not wake a CPU from HLT.
 */
bool event_wakes(const struct event_queue *q, const struct event_view *v);

/**
 * event_interrupt() - KVM_INTERRUPT with an irqchip that allows it
 * @q: the queue
 * @vector: the interrupt
 *
 * Return: 0 or -EEXIST.
 */
int event_interrupt(struct event_queue *q, u8 vector);

/**
 * event_nmi_unmask() - the NMI handler executed IRET
 * @q: the queue
 *
 * For backends that see the IRET (SVM without virtual NMIs); others copy the CPU's flag with
 * event_nmi_set_masked() before the queue is asked or shown.
 */
void event_nmi_unmask(struct event_queue *q);

/**
 * event_nmi_set_masked() - the CPU's own NMI-blocking flag, as found
 * @q: the queue
 * @masked: it is set
 *
 * While L1's NMI is about to be injected (run_pending) the flag is the one before injection.
 */
void event_nmi_set_masked(struct event_queue *q, bool masked);

/**
 * event_sipi_pending() - GET_MP_STATE is to say SIPI_RECEIVED (DESIGN invariant 8)
 * @q: the queue, with the inbox drained into it
 * @v: the guest's blocking state
 *
 * Together with a latched INIT, the INIT comes first. A SIPI that nothing waits for, or before any
 * INIT, is none.
 */
bool event_sipi_pending(const struct event_queue *q, const struct event_view *v);

/**
 * event_settle_user() - what userspace set is settled, at the start of KVM_RUN
 * @q: the queue
 * @v: the guest's blocking state
 *
 * An injected interrupt of KVM_SET_VCPU_EVENTS or SREGS goes in at once if the guest can take it,
 * else it waits in the stash; so does one in delivery whose guest userspace has closed meanwhile,
 * except in L2. An INT n goes into @delivering with @len 0: before the entry the run loop finds its
 * length by decoding at RIP; if it is not there, KVM_RUN is KVM_EXIT_INTERNAL_ERROR and the queue
 * stays.
 */
void event_settle_user(struct event_queue *q, const struct event_view *v);

/**
 * event_run_begins() - all of event_settle_user() that needs no view
 * @q: the queue
 *
 * Return: true if event_settle_user() is to be called for the rest.
 */
static inline bool event_run_begins(struct event_queue *q)
{
	q->exception_user = false;
	if (EVENT_RULE(SET_ASIDE_ENDS, q->set_aside.type))
		q->set_aside = (struct event) {};
	return q->irq_unsettled | (q->delivering.type == EVENT_INTERRUPT);
}

/**
 * event_drop_exception() - KVM_SET_REGS: an exception that the guest had pending is gone
 * @q: the queue
 *
 * Not one that userspace set since the last run; but with it a soft event that would happen at the
 * old RIP.
 */
void event_drop_exception(struct event_queue *q);

/**
 * event_dr6() - DR6 once a #DB with this payload is delivered
 * @dr6: before
 * @payload: struct event's
 */
u64 event_dr6(u64 dr6, u64 payload);

/**
 * event_trap() - an instruction completed with debug-trap causes (single step, breakpoints)
 * @q: the queue
 * @causes: DR6 layout as in struct event's payload; not 0
 * @shadow: shadow after that instruction: MOV SS holds them back
 */
void event_trap(struct event_queue *q, u64 causes, u8 shadow);

/**
 * event_rsm() - RSM left SMM
 * @q: the queue
 * @shadow: the shadow that RSM restores
 * @again: the I/O instruction in front of the SMI runs again
 *
 * Restores NMI blocking and lets the trap that the SMI overtook happen, once MOV SS does not hold
 * it back any more.
 */
void event_rsm(struct event_queue *q, u8 shadow, bool again);

/**
 * event_nested_begin() - VMRUN, VMLAUNCH or VMRESUME succeeded, or KVM_SET_NESTED_STATE with
 * RUN_PENDING
 * @q: the queue
 * @injected: the event L1 asks for (type EVENT_NONE if none)
 *
 * What userspace had set as injected yields to it.
 */
void event_nested_begin(struct event_queue *q, const struct event *injected);

/**
 * event_nested_cancel() - KVM_SET_NESTED_STATE: the entry that was under way is none
 * @q: the queue
 *
 * What userspace had set as injected meanwhile is being delivered then.
 */
void event_nested_cancel(struct event_queue *q);

/**
 * event_nested_leave() - a VM exit to L1
 * @q: the queue
 * @p: @vectoring and @pending_dbg are filled in: they are L1's now
 *
 * For exits that event_next() and event_settle() did not decide; those already did this. NMI
 * blocking is left as it is (before injection, while L1's NMI was not delivered): the backend sets
 * what its manual says for the exit.
 */
void event_nested_leave(struct event_queue *q, struct event_plan *p);

/**
 * event_l1_intercepts() - L1 takes this exception of L2 as a VM exit
 * @v: the guest's blocking state
 * @e: the exception
 */
bool event_l1_intercepts(const struct event_view *v, const struct event *e);

#endif
