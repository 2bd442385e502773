// SPDX-License-Identifier: GPL-2.0
/*
 * SVM exits: what each exit code means to the machine.
 */
#include "nested.h"
#include "../emulate/emulate.h"
#include "../exit.h"
#include "../fast.h"
#include "../trace_kvm.h"

#include <linux/mm.h>
#include <linux/nospec.h>
#include <asm/debugreg.h>

/* ---- stepping over the instruction that exited ---- */

/*
 * Without next-RIP save the length follows from the bytes, for instructions that the exit code
 * names.
 */
static u32 skip_opcode(u32 exit_code)
{
	switch (exit_code) {
	case SVM_EXIT_CPUID:	return EMU_SKIP_CPUID;
	case SVM_EXIT_HLT:	return EMU_SKIP_HLT;
	case SVM_EXIT_VMMCALL:	return EMU_SKIP_VMMCALL;
	case SVM_EXIT_RDPMC:	return EMU_SKIP_RDPMC;
	case SVM_EXIT_INVD:	return EMU_SKIP_INVD;
	case SVM_EXIT_WBINVD:	return EMU_SKIP_WBINVD;
	case SVM_EXIT_PAUSE:	return EMU_SKIP_PAUSE;
	case SVM_EXIT_MONITOR:	return EMU_SKIP_MONITOR;
	case SVM_EXIT_MWAIT:	return EMU_SKIP_MWAIT;
	case SVM_EXIT_XSETBV:	return EMU_SKIP_XSETBV;
	case SVM_EXIT_VMRUN:	return EMU_SKIP_VMRUN;
	case SVM_EXIT_VMLOAD:	return EMU_SKIP_VMLOAD;
	case SVM_EXIT_VMSAVE:	return EMU_SKIP_VMSAVE;
	case SVM_EXIT_STGI:	return EMU_SKIP_STGI;
	case SVM_EXIT_CLGI:	return EMU_SKIP_CLGI;
	case SVM_EXIT_INVLPGA:	return EMU_SKIP_INVLPGA;
	default:		return 0;
	}
}

static unsigned int insn_mode(const struct vcpu *v, const struct vmcb *vmcb)
{
	u16 attrib = vmcb->save.cs.attrib;

	if ((attrib & SVM_SELECTOR_L_MASK) && (v->efer & EFER_LMA))
		return EMU_MODE_64;
	return attrib & SVM_SELECTOR_DB_MASK ? EMU_MODE_32 : EMU_MODE_16;
}

#define SKIP_BYTES	8

/* Length by looking at the bytes, 0 if they cannot be had without sleeping. */
static unsigned int fetched_length(struct svm_vcpu *svm, u32 opcode)
{
	struct vmcb *vmcb = svm->vmcb;
	unsigned int mode = insn_mode(&svm->vcpu, vmcb), n;
	unsigned long linear = vmcb->save.rip;
	u8 bytes[EMU_MAX_INSN + 1];
	int len;

	if (mode != EMU_MODE_64)
		linear = (u32)(vmcb->save.cs.base + linear);
	n = min_t(unsigned int, SKIP_BYTES, PAGE_SIZE - offset_in_page(linear));
	if (mmu_fetch_nofault(&svm->vcpu, linear, bytes, n))
		return 0;
	len = emu_skip_length(bytes, n, mode, opcode);
	/* It goes on in the next page. */
	if (unlikely(len == -ENODATA) && !mmu_fetch_nofault(&svm->vcpu, linear, bytes, SKIP_BYTES))
		len = emu_skip_length(bytes, SKIP_BYTES, mode, opcode);
	return len > 0 ? len : 0;
}

bool svm_skip(struct vcpu *v)
{
	struct svm_vcpu *svm = to_svm(v);
	struct vmcb_control_area *c = &svm->vmcb->control;
	unsigned long next = 0;

	if (svm_caps.nrips) {
		next = c->next_rip;
	} else if (c->exit_code == SVM_EXIT_IOIO) {
		next = c->exit_info_2;
	} else {
		u32 opcode = c->exit_code == SVM_EXIT_MSR ?
			(c->exit_info_1 ? EMU_SKIP_WRMSR : EMU_SKIP_RDMSR) : skip_opcode(c->exit_code);
		unsigned int len = opcode ? fetched_length(svm, opcode) : 0;

		/* on_undefined() */
		if (!len && opcode == EMU_SKIP_VMMCALL)
			len = fetched_length(svm, EMU_SKIP_VMCALL);
		if (len)
			next = vcpu_rip_add(v, len);
	}
	if (!next)
		return false;
	vcpu_set_reg(v, REG_RIP, next);
	c->int_state &= ~SVM_INTERRUPT_SHADOW_MASK;
	return true;
}

/* ---- exits that are handled with interrupts off ---- */

static __always_inline bool plain(const struct vcpu *v)
{
	return fast_plain(v, v->regs[REG_RFLAGS]);
}

/*
 * Not a code of the CPU: the exit was handled with interrupts off, and the run loop has something
 * to do.
 */
#define EXIT_DONE	0x7fffffff

/*
 * Something may be to do before the next entry: then the fast path is left, with the exit handled.
 */
static __always_inline void done(struct vcpu *v)
{
	if (fast_leaves_work(v))
		to_svm(v)->vmcb->control.exit_code = EXIT_DONE;
}

/*
 * The write and the step over it, or neither: an IPI must not be sent twice. So RIP moves first,
 * which may need bytes that are not at hand, and goes back if the value is refused.
 */
static bool fast_wrmsr(struct svm_vcpu *svm)
{
	struct vcpu *v = &svm->vcpu;
	struct vmcb_control_area *c = &svm->vmcb->control;
	unsigned long rip = v->regs[REG_RIP];
	u32 msr = v->regs[REG_RCX], state = c->int_state;

	if (!fast_msr(v, msr) || rcu_access_pointer(vcpu_vm(v)->cpu.msr_filter))
		return false;
	if (unlikely(v->pv.eoi_offered) && !eoi_collect(v, false))
		return false;
	if (!svm_skip(v))
		return false;
	if (msr_set(v, msr, vcpu_edx_eax(v), false)) {
		vcpu_set_reg(v, REG_RIP, rip);
		c->int_state = state;
		return false;
	}
	if (trace_kvm_msr_enabled())
		trace_kvm_msr(true, v->regs[REG_RCX], vcpu_edx_eax(v), false);
	c->int_ctl = (c->int_ctl & ~V_TPR_MASK) | v->cr8;
	done(v);
	return true;
}

static noinline bool fast_rdmsr(struct svm_vcpu *svm)
{
	struct vcpu *v = &svm->vcpu;
	u32 msr = v->regs[REG_RCX];
	u64 val;

	/* Where the CPU switches SPEC_CTRL its value is still in the control block. */
	if (rcu_access_pointer(vcpu_vm(v)->cpu.msr_filter) ||
	    (svm_caps.virt_spec_ctrl && msr == MSR_IA32_SPEC_CTRL))
		return false;
	if (!msr_get_plain(v, msr, &val) || !svm_skip(v))
		return false;
	if (trace_kvm_msr_enabled())
		trace_kvm_msr(false, msr, val, false);
	vcpu_set_edx_eax(v, val);
	return true;
}

/* The step comes first, as for WRMSR. */
static noinline bool fast_hypercall(struct vcpu *v)
{
	struct vmcb_control_area *c = &to_svm(v)->vmcb->control;
	unsigned long rip = v->regs[REG_RIP];
	u32 state = c->int_state;
	long ret;

	if (!svm_skip(v))
		return false;
	if (!pv_hypercall(v, true, &ret)) {
		vcpu_set_reg(v, REG_RIP, rip);
		c->int_state = state;
		return false;
	}
	v->virt.stats.hypercalls++;
	v->regs[REG_RAX] = vcpu_long_mode(v) ? ret : (u32)ret;
	done(v);
	return true;
}

/*
 * The step needs nothing that may not be at hand: the CPU says where the next instruction is. At 0,
 * the bell must not ring before the step fails.
 */
static bool fast_out(struct vcpu *v)
{
	const struct vmcb_control_area *c = &to_svm(v)->vmcb->control;
	u32 info = c->exit_info_1;
	unsigned long rip;

	if ((info & (SVM_IOIO_TYPE_MASK | SVM_IOIO_STR_MASK)) || !c->exit_info_2)
		return false;
	rip = vcpu_rip(v);
	if (!io_doorbell(v, info >> 16, (info >> SVM_IOIO_SIZE_SHIFT) & 7) || !svm_skip(v))
		return false;
	if (io_smi_waits(v))
		io_note_port(v, info >> 16, (info >> SVM_IOIO_SIZE_SHIFT) & 7, false, rip);
	done(v);
	return true;
}

bool svm_fast_exit(struct svm_vcpu *svm)
{
	struct vcpu *v = &svm->vcpu;
	struct vmcb *vmcb = svm->vmcb;

	if (unlikely(v->guest_mode) && !nested_fast_exit(svm))
		return false;

	switch (vmcb->control.exit_code) {
	case SVM_EXIT_CPUID:
		if (!plain(v) || !svm_skip(v))
			return false;
		cpuid_execute(v);
		return true;
	case SVM_EXIT_MSR:
		if (!plain(v))
			return false;
		if (!vmcb->control.exit_info_1)
			return fast_rdmsr(svm);
		return fast_wrmsr(svm) && vmcb->control.exit_code != EXIT_DONE;
	case SVM_EXIT_VMMCALL:
		return plain(v) && fast_hypercall(v) && vmcb->control.exit_code != EXIT_DONE;
	case SVM_EXIT_IOIO:
		return io_has_doorbells(v) && plain(v) && fast_out(v) &&
		       vmcb->control.exit_code != EXIT_DONE;
	default:
		return false;
	}
}

/* ---- the rest ---- */

static enum exit_result on_cpuid(struct vcpu *v) { return exit_cpuid(v); }
static enum exit_result on_vmmcall(struct vcpu *v)
{
	/* L0 has nothing to say to L2, whose own hypervisor does not want the call. */
	return unlikely(v->guest_mode) ? exit_ud(v) : exit_hypercall(v);
}

static enum exit_result on_xsetbv(struct vcpu *v) { return exit_xsetbv(v); }
static enum exit_result on_nop(struct vcpu *v) { return exit_nop(v); }
static enum exit_result on_pause(struct vcpu *v) { return exit_pause(v); }
static enum exit_result on_ud(struct vcpu *v) { return exit_ud(v); }
static enum exit_result on_gp(struct vcpu *v) { return exit_gp(v); }
static enum exit_result on_rsm(struct vcpu *v) { return exit_rsm(v); }
static enum exit_result on_emulate(struct vcpu *v) { return exit_emulate(v); }

static enum exit_result on_hlt(struct vcpu *v)
{
	if (unlikely(v->guest_mode) && nested_virq_wakes(to_svm(v)))
		return vcpu_skip(v);
	return exit_hlt(v);
}

/*
 * The VMCB is undefined after a shutdown (APM vol. 2, "Shutdown Intercept"): INIT makes it a
 * defined one.
 */
static enum exit_result on_shutdown(struct vcpu *v)
{
	memset(&v->events, 0, sizeof(v->events));
	vcpu_reset(v, true);
	return exit_shutdown(v);
}

static enum exit_result on_nothing(struct vcpu *v)
{
	return EXIT_RESUME;	/* after_enter let the host have what it was */
}

static enum exit_result on_intr(struct vcpu *v)
{
	v->virt.stats.irq_exits++;
	return EXIT_RESUME;
}

static enum exit_result on_msr(struct vcpu *v)
{
	if (unlikely(v->guest_mode) && nested_rdmsr_tsc(to_svm(v)))
		return vcpu_skip(v);
	return to_svm(v)->vmcb->control.exit_info_1 ? exit_wrmsr(v) : exit_rdmsr(v);
}

static enum exit_result on_io(struct vcpu *v)
{
	u32 info = to_svm(v)->vmcb->control.exit_info_1;

	return exit_io(v, info >> 16, (info >> SVM_IOIO_SIZE_SHIFT) & 7, info & SVM_IOIO_TYPE_MASK,
		       info & SVM_IOIO_STR_MASK);
}

static enum exit_result on_npf(struct vcpu *v)
{
	const struct vmcb_control_area *c = &to_svm(v)->vmcb->control;

	u32 access = c->exit_info_1 & (ACCESS_PRESENT | ACCESS_WRITE | ACCESS_FETCH);

	if (unlikely(mmu_nested_paging(v)))
		return nested_page_fault(to_svm(v));
	if (c->exit_info_1 & BIT_ULL(32))
		access |= ACCESS_FINAL;
	return exit_page_fault(v, c->exit_info_2, access);
}

static enum exit_result on_mov_dr(struct vcpu *v)
{
	struct vmcb *vmcb = to_svm(v)->vmcb;
	struct vcpu_debug *d = &v->cpu.debug;
	u32 code = vmcb->control.exit_code;
	bool write = code >= SVM_EXIT_WRITE_DR0;

	if (!d->guest_debug) {
		/*
		 * Let the guest have its debug registers until the next exit that gives them back.
		 */
		d->guest_owned = true;
		svm_update_intercepts(v);
		return EXIT_RESUME;
	}
	if (!svm_caps.decode_assists)
		return exit_emulate(v);
	return exit_mov_dr(v, code - (write ? SVM_EXIT_WRITE_DR0 : SVM_EXIT_READ_DR0), vmcb->control.exit_info_1 & 15, write);
}

static enum exit_result on_cr8_write(struct vcpu *v)
{
	unsigned long rip = vcpu_rip(v);
	u8 before = v->cr8;
	enum exit_result r = exit_emulate(v);

	/* Without V_INTR_MASKING the write is to both TPRs. */
	if (unlikely(v->guest_mode) && !to_svm(v)->own_tpr && vcpu_rip(v) != rip)
		nested_set_int_ctl(to_svm(v), V_TPR_MASK, v->cr8);

	if (r != EXIT_RESUME || vcpu_vm(v)->irqchip != IRQCHIP_NONE || v->cr8 >= before)
		return r;
	/* Lowered: an interrupt of userspace's controller may be deliverable now. */
	v->virt.run->exit_reason = KVM_EXIT_SET_TPR;
	return EXIT_TO_USER;
}

static enum exit_result on_task_switch(struct vcpu *v)
{
	const struct vmcb_control_area *c = &to_svm(v)->vmcb->control;
	struct event_queue *q = &v->events;
	bool gate = q->delivering.type, soft = !gate || event_is_soft(&q->delivering),
	     l1s = gate && q->run_pending, masked = q->nmi_masked;
	u64 info = c->exit_info_2;
	int reason = gate ? EMU_TASK_GATE : info & BIT_ULL(36) ? EMU_TASK_IRET : info & BIT_ULL(38) ? EMU_TASK_JMP : EMU_TASK_CALL;
	unsigned long next = l1s && soft ? svm_soft_return(to_svm(v)) : soft ? emu_next_rip(v) : vcpu_rip(v);
	enum exit_result r = exit_task_switch(v, c->exit_info_1, reason,
					      gate && (info & BIT_ULL(44)), info, next);

	/* As in finish_events() */
	if (l1s)
		q->nmi_masked = masked;
	return r;
}

static enum exit_result on_vintr(struct vcpu *v)
{
	v->virt.stats.irq_window_exits++;
	return EXIT_RESUME;	/* the next event_next() closes the window or uses it */
}

static enum exit_result on_iret(struct vcpu *v)
{
	struct svm_vcpu *svm = to_svm(v);
	u64 failed = v->virt.stats.insn_emulation_fail;
	enum exit_result r;

	v->virt.stats.nmi_window_exits++;
	r = exit_emulate(v);
	/*
	 * Emulated, it has opened the window; if it faulted NMIs stay masked, as its handler will
	 * IRET again.
	 */
	if (likely(v->virt.stats.insn_emulation_fail == failed))
		return r;
	/* An IRET that the emulator cannot do: let the CPU, and stop behind it. */
	svm->step = STEP_IRET;
	svm->step_rip = vcpu_rip(v);
	return EXIT_RESUME;
}

/* Breakpoints that are enabled, as bits of DR6 */
static u64 enabled_breakpoints(const struct vcpu_debug *d)
{
	unsigned long dr7 = debug_effective_dr7(d);
	unsigned int i;
	u64 bits = 0;

	for (i = 0; i < 4; i++)
		bits |= dr7 >> 2 * i & 3 ? BIT(i) : 0;
	return bits;
}

static enum exit_result on_db(struct vcpu *v)
{
	struct svm_vcpu *svm = to_svm(v);
	u64 dr6 = svm->vmcb->save.dr6 ^ DR6_RESERVED;
	u64 causes = dr6 & (DR_TRAP_BITS | DR_STEP | DR_SWITCH | BIT(13) | BIT(16));

	/*
	 * The CPU wrote DR6 already; what the guest sees is written when the exception is
	 * delivered.
	 */
	vmcb_update(svm->vmcb, save.dr6, v->cpu.debug.dr6, CLEAN_DR);
	if (svm->stepped) {
		svm->stepped = false;
		/*
		 * Without the step only a breakpoint would have trapped. The CPU adds to DR6: the
		 * rest may be what the guest has not cleared.
		 */
		causes &= DR_TRAP_BITS;
		if (!(causes & enabled_breakpoints(&v->cpu.debug)))
			return EXIT_RESUME;
	}
	return exit_debug(v, causes);
}

/*
 * Length of the INT3 or INTO at RIP, prefixes included; 0 if it is there no more: then what is
 * there now runs instead.
 */
static unsigned int soft_length(struct vcpu *v, u8 vector)
{
	const struct event e = { .type = EVENT_SOFT_EXCEPTION, .vector = vector };
	unsigned long len = to_svm(v)->vmcb->control.next_rip - vcpu_rip(v);

	return svm_caps.nrips && len && len < 16 ? len : emu_soft_length(v, &e);
}

static enum exit_result on_bp(struct vcpu *v)
{
	bool user = v->cpu.debug.guest_debug & KVM_GUESTDBG_USE_SW_BP;
	unsigned int len = user ? 1 : soft_length(v, BP_VECTOR);

	return len ? exit_breakpoint(v, len) : EXIT_RESUME;
}

static enum exit_result on_of(struct vcpu *v)
{
	struct event e = { .type = EVENT_SOFT_EXCEPTION, .vector = OF_VECTOR, .len = soft_length(v, OF_VECTOR) };

	if (e.len)
		event_raise(&v->events, &e);
	return EXIT_RESUME;
}

/* An exception that only had to be seen: it is the guest's, unchanged. */
static enum exit_result on_exception(struct vcpu *v)
{
	const struct vmcb_control_area *c = &to_svm(v)->vmcb->control;
	u8 vector = c->exit_code - SVM_EXIT_EXCP_BASE;
	struct event e = {
		.type = EVENT_EXCEPTION,
		.vector = vector,
		.has_error = vector_has_error(vector) && (vcpu_cr0(v) & X86_CR0_PE),
	};

	/* exit_info_1 is undefined for #DF. */
	if (e.has_error && vector != DF_VECTOR)
		e.error = c->exit_info_1;
	if (vector == PF_VECTOR) {
		e.has_payload = true;
		e.payload = c->exit_info_2;
	}
	event_raise(&v->events, &e);
	return EXIT_RESUME;
}

/*
 * The other vendor's hypercall instruction, which hypercalls.rst has KVM make work, is an exit of
 * this one's.
 */
static enum exit_result on_undefined(struct vcpu *v)
{
	struct svm_vcpu *svm = to_svm(v);
	enum exit_result r;

	/* Bochs has RSM undefined before it looks at the intercept. */
	if (v->events.smm && emu_at_rsm(v))
		return exit_rsm(v);
	if (!emu_at_vmcall(v))
		return on_exception(v);
	svm->vmcb->control.exit_code = SVM_EXIT_VMMCALL;
	svm->vmcb->control.next_rip = vcpu_rip_add(v, 3);
	if (v->guest_mode && nested_handle_exit(svm, &r))
		return r;
	return on_vmmcall(v);
}

/*
 * An INT n, INT3, INTO or INT1 whose delivery was interrupted is still at RIP, and happens again by
 * itself.
 */
static bool soft_at_rip(struct vcpu *v)
{
	const struct event *e = &v->events.delivering;

	return e->replay && e->len && emu_soft_length(v, e) == e->len;
}

/*
 * An exit tells no error code of #TS. Intercepted for the sake of a soft event's address only, it
 * is raised once more, without an exit.
 */
static enum exit_result on_ts(struct vcpu *v)
{
	if (!soft_at_rip(v))
		return on_exception(v);
	event_drop_exception(&v->events);
	return EXIT_RESUME;
}

typedef enum exit_result (*exit_fn)(struct vcpu *v);

static const exit_fn exit_table[] = {
	[SVM_EXIT_READ_CR0]		= on_emulate,
	[SVM_EXIT_WRITE_CR0]		= on_emulate,
	[SVM_EXIT_READ_CR4]		= on_emulate,
	[SVM_EXIT_WRITE_CR4]		= on_emulate,
	[SVM_EXIT_WRITE_CR8]		= on_cr8_write,
	[SVM_EXIT_READ_DR0]		= on_mov_dr,
	[SVM_EXIT_READ_DR1]		= on_mov_dr,
	[SVM_EXIT_READ_DR2]		= on_mov_dr,
	[SVM_EXIT_READ_DR3]		= on_mov_dr,
	[SVM_EXIT_READ_DR4]		= on_mov_dr,
	[SVM_EXIT_READ_DR5]		= on_mov_dr,
	[SVM_EXIT_READ_DR6]		= on_mov_dr,
	[SVM_EXIT_READ_DR7]		= on_mov_dr,
	[SVM_EXIT_WRITE_DR0]		= on_mov_dr,
	[SVM_EXIT_WRITE_DR1]		= on_mov_dr,
	[SVM_EXIT_WRITE_DR2]		= on_mov_dr,
	[SVM_EXIT_WRITE_DR3]		= on_mov_dr,
	[SVM_EXIT_WRITE_DR4]		= on_mov_dr,
	[SVM_EXIT_WRITE_DR5]		= on_mov_dr,
	[SVM_EXIT_WRITE_DR6]		= on_mov_dr,
	[SVM_EXIT_WRITE_DR7]		= on_mov_dr,
	[SVM_EXIT_EXCP_BASE + DE_VECTOR] = on_exception,
	[SVM_EXIT_EXCP_BASE + DB_VECTOR] = on_db,
	[SVM_EXIT_EXCP_BASE + BP_VECTOR] = on_bp,
	[SVM_EXIT_EXCP_BASE + OF_VECTOR] = on_of,
	[SVM_EXIT_EXCP_BASE + BR_VECTOR] = on_exception,
	[SVM_EXIT_EXCP_BASE + UD_VECTOR] = on_undefined,
	[SVM_EXIT_EXCP_BASE + NM_VECTOR] = on_exception,
	[SVM_EXIT_EXCP_BASE + DF_VECTOR] = on_exception,
	[SVM_EXIT_EXCP_BASE + TS_VECTOR] = on_ts,
	[SVM_EXIT_EXCP_BASE + NP_VECTOR] = on_exception,
	[SVM_EXIT_EXCP_BASE + SS_VECTOR] = on_exception,
	[SVM_EXIT_EXCP_BASE + GP_VECTOR] = on_exception,
	[SVM_EXIT_EXCP_BASE + PF_VECTOR] = on_exception,
	[SVM_EXIT_EXCP_BASE + MF_VECTOR] = on_exception,
	[SVM_EXIT_EXCP_BASE + AC_VECTOR] = on_exception,
	[SVM_EXIT_EXCP_BASE + MC_VECTOR] = on_nothing,
	[SVM_EXIT_EXCP_BASE + XM_VECTOR] = on_exception,
	[SVM_EXIT_INTR]			= on_intr,
	[SVM_EXIT_NMI]			= on_nothing,
	[SVM_EXIT_SMI]			= on_nothing,
	[SVM_EXIT_INIT]			= on_nothing,
	[SVM_EXIT_VINTR]		= on_vintr,
	[SVM_EXIT_CR0_SEL_WRITE]	= on_emulate,
	[SVM_EXIT_RDPMC]		= on_gp,
	[SVM_EXIT_PUSHF]		= on_emulate,
	[SVM_EXIT_POPF]			= on_emulate,
	[SVM_EXIT_CPUID]		= on_cpuid,
	[SVM_EXIT_RSM]			= on_rsm,
	[SVM_EXIT_IRET]			= on_iret,
	[SVM_EXIT_SWINT]		= on_emulate,
	[SVM_EXIT_INVD]			= on_nop,
	[SVM_EXIT_PAUSE]		= on_pause,
	[SVM_EXIT_HLT]			= on_hlt,
	[SVM_EXIT_INVLPGA]		= nested_invlpga,
	[SVM_EXIT_IOIO]			= on_io,
	[SVM_EXIT_MSR]			= on_msr,
	[SVM_EXIT_TASK_SWITCH]		= on_task_switch,
	[SVM_EXIT_SHUTDOWN]		= on_shutdown,
	[SVM_EXIT_VMRUN]		= nested_vmrun,
	[SVM_EXIT_VMMCALL]		= on_vmmcall,
	[SVM_EXIT_VMLOAD]		= nested_vmload,
	[SVM_EXIT_VMSAVE]		= nested_vmsave,
	[SVM_EXIT_STGI]			= nested_stgi,
	[SVM_EXIT_CLGI]			= nested_clgi,
	[SVM_EXIT_SKINIT]		= on_ud,
	[SVM_EXIT_WBINVD]		= on_nop,
	[SVM_EXIT_MONITOR]		= on_ud,
	[SVM_EXIT_MWAIT]		= on_ud,
	[SVM_EXIT_XSETBV]		= on_xsetbv,
	[SVM_EXIT_RDPRU]		= on_ud,
};

static enum exit_result entry_failed(struct vcpu *v)
{
	struct kvm_run *run = v->virt.run;

	svm_dump(v);
	run->exit_reason = KVM_EXIT_FAIL_ENTRY;
	run->fail_entry.hardware_entry_failure_reason = (u32)SVM_EXIT_ERR;
	run->fail_entry.cpu = v->virt.last_cpu;
	return EXIT_TO_USER;
}

enum exit_result svm_handle_exit(struct vcpu *v)
{
	u32 code = to_svm(v)->vmcb->control.exit_code;
	enum exit_result r;
	exit_fn fn;

	if (unlikely(v->guest_mode) && nested_handle_exit(to_svm(v), &r))
		return r;
	/* The frequent ones by direct calls. */
	switch (code) {
	case SVM_EXIT_NPF:	return on_npf(v);
	case SVM_EXIT_IOIO:	return on_io(v);
	case SVM_EXIT_INTR:	return on_intr(v);
	case SVM_EXIT_MSR:	return on_msr(v);
	case SVM_EXIT_HLT:	return on_hlt(v);
	case EXIT_DONE:		return EXIT_RESUME;
	case (u32)SVM_EXIT_ERR:	return entry_failed(v);
	}
	fn = code < ARRAY_SIZE(exit_table) ? exit_table[array_index_nospec(code, ARRAY_SIZE(exit_table))] : NULL;
	if (!fn)
		return exit_internal_error(v, KVM_INTERNAL_ERROR_UNEXPECTED_EXIT_REASON, code,
					   v->virt.last_cpu);
	return fn(v);
}

void svm_exit_info(struct vcpu *v, u32 *reason, u64 *info1, u64 *info2)
{
	const struct vmcb_control_area *c = &to_svm(v)->vmcb->control;

	*reason = c->exit_code;
	*info1 = c->exit_info_1;
	*info2 = c->exit_info_2;
}
