// SPDX-License-Identifier: GPL-2.0
/*
 * Exits that are the same on both backends.
 */
#include "exit.h"
#include "backend.h"
#include "emulate/emulate.h"
#include "trace_kvm.h"

#include <asm/debugreg.h>

enum exit_result exit_error(struct vcpu *v, int error)
{
	v->error = error;
	return EXIT_ERROR;
}

enum exit_result exit_internal_error(struct vcpu *v, u32 suberror, u64 data0, u64 data1)
{
	struct kvm_run *run = v->virt.run;

	run->exit_reason = KVM_EXIT_INTERNAL_ERROR;
	run->internal.suberror = suberror;
	run->internal.ndata = 2;
	run->internal.data[0] = data0;
	run->internal.data[1] = data1;
	return EXIT_TO_USER;
}

/* The guest's TF, or userspace's single step, after an instruction that was executed here. */
enum exit_result vcpu_after_insn(struct vcpu *v, unsigned long rflags_before)
{
	if (likely(!(rflags_before & X86_EFLAGS_TF) &&
		   !(v->cpu.debug.guest_debug & KVM_GUESTDBG_SINGLESTEP)))
		return EXIT_RESUME;
	return exit_debug(v, DR_STEP);
}

enum exit_result vcpu_skip(struct vcpu *v)
{
	unsigned long rflags = vcpu_rflags(v);

	if (unlikely(!backend_call(skip)(v))) {
		unsigned int len = emu_insn_length(v);

		if (!len)
			return EXIT_RESUME;	/* the code is gone: the guest faults on its own when it is entered again */
		vcpu_set_reg(v, REG_RIP, vcpu_rip_add(v, len));
		backend_call(set_shadow)(v, 0);
	}
	if (unlikely(rflags & X86_EFLAGS_RF))
		vcpu_set_reg(v, REG_RFLAGS, rflags & ~X86_EFLAGS_RF);
	return vcpu_after_insn(v, rflags);
}

enum exit_result exit_cpuid(struct vcpu *v)
{
	cpuid_execute(v);
	return vcpu_skip(v);
}

static enum exit_result msr_failed(struct vcpu *v, u32 msr, u64 data, bool write, u32 reason)
{
	if (vcpu_vm(v)->cpu.user_space_msr & reason)
		return io_msr(v, msr, data, write, reason);
	trace_kvm_msr(write, msr, data, true);
	vcpu_raise_gp(v);
	return EXIT_RESUME;
}

static u32 msr_reason(int ret)
{
	return ret == -ENOENT ? KVM_MSR_EXIT_REASON_UNKNOWN : KVM_MSR_EXIT_REASON_INVAL;
}

enum exit_result exit_rdmsr(struct vcpu *v)
{
	u32 msr = v->regs[REG_RCX];
	u64 val;
	int ret;

	if (unlikely(!msr_allowed(v, msr, false)))
		return msr_failed(v, msr, 0, false, KVM_MSR_EXIT_REASON_FILTER);
	ret = msr_get(v, msr, &val, false);
	if (unlikely(ret))
		return msr_failed(v, msr, 0, false, msr_reason(ret));
	if (trace_kvm_msr_enabled())
		trace_kvm_msr(false, v->regs[REG_RCX], val, false);
	vcpu_set_edx_eax(v, val);
	return vcpu_skip(v);
}

enum exit_result exit_wrmsr(struct vcpu *v)
{
	u32 msr = v->regs[REG_RCX];
	u64 val = vcpu_edx_eax(v);
	int ret;

	if (unlikely(!msr_allowed(v, msr, true)))
		return msr_failed(v, msr, val, true, KVM_MSR_EXIT_REASON_FILTER);
	ret = msr_set(v, msr, val, false);
	if (unlikely(ret < 0 && ret != -ENOENT))
		return exit_error(v, ret);
	if (unlikely(ret))
		return msr_failed(v, msr, val, true, msr_reason(ret));
	if (trace_kvm_msr_enabled())
		trace_kvm_msr(true, v->regs[REG_RCX], vcpu_edx_eax(v), false);
	return vcpu_skip(v);
}

enum exit_result vcpu_halt(struct vcpu *v)
{
	if (v->apic) {
		v->mp_state = KVM_MP_STATE_HALTED;
		return EXIT_RESUME;
	}
	v->virt.run->exit_reason = KVM_EXIT_HLT;
	return EXIT_TO_USER;
}

enum exit_result exit_hlt(struct vcpu *v)
{
	enum exit_result r = vcpu_skip(v);

	v->virt.stats.halt_exits++;
	return r == EXIT_RESUME ? vcpu_halt(v) : r;
}

enum exit_result exit_rsm(struct vcpu *v)
{
	return v->events.smm ? exit_emulate(v) : exit_ud(v);
}

enum exit_result exit_hypercall(struct vcpu *v)
{
	long ret;

	v->virt.stats.hypercalls++;
	pv_hypercall(v, false, &ret);
	vcpu_set_reg(v, REG_RAX, vcpu_long_mode(v) ? ret : (u32)ret);
	return vcpu_skip(v);
}

enum exit_result exit_xsetbv(struct vcpu *v)
{
	if (cr_set_xcr(v, v->regs[REG_RCX], vcpu_edx_eax(v))) {
		vcpu_raise_gp(v);
		return EXIT_RESUME;
	}
	return vcpu_skip(v);
}

/* A loop of PAUSE: whom it waits for may have no CPU. */
enum exit_result exit_pause(struct vcpu *v)
{
	virt_vcpu_spins(&v->virt);
	return vcpu_skip(v);
}

enum exit_result exit_nop(struct vcpu *v)
{
	return vcpu_skip(v);
}

enum exit_result exit_ud(struct vcpu *v)
{
	vcpu_raise(v, X86_TRAP_UD);
	return EXIT_RESUME;
}

enum exit_result exit_gp(struct vcpu *v)
{
	vcpu_raise_gp(v);
	return EXIT_RESUME;
}

enum exit_result exit_emulate(struct vcpu *v)
{
	io_forget(v);
	return emu_run(v);
}

enum exit_result exit_io(struct vcpu *v, u16 port, unsigned int size, bool in, bool string)
{
	v->virt.stats.io_exits++;
	if (string)
		return exit_emulate(v);
	return io_port(v, port, size, in);
}

enum exit_result exit_mov_dr(struct vcpu *v, int dr, int gpr, bool write)
{
	unsigned long val;
	int vector;

	if (backend_call(cpl)(v)) {
		vcpu_raise_gp(v);
		return EXIT_RESUME;
	}
	if (write) {
		val = vcpu_reg(v, gpr);
		vector = debug_set(v, dr, vcpu_cs_long(v) ? val : (u32)val);
	} else {
		vector = debug_get(v, dr, &val);
	}
	if (vector == X86_TRAP_DB) {	/* general detect */
		vcpu_raise_db(v, DR6_BD_BIT);
		return EXIT_RESUME;
	}
	if (vector == X86_TRAP_GP) {
		vcpu_raise_gp(v);
		return EXIT_RESUME;
	}
	if (vector) {
		vcpu_raise(v, vector);
		return EXIT_RESUME;
	}
	if (!write)
		vcpu_set_reg(v, gpr, val);
	return vcpu_skip(v);
}

enum exit_result exit_page_fault(struct vcpu *v, u64 gpa, u32 access)
{
	/* The operand itself, not a table that the walk to it read. */
	bool operand = (access & (ACCESS_FINAL | ACCESS_FETCH)) == ACCESS_FINAL;

	v->virt.stats.pf_taken++;
	trace_kvm_page_fault(v, gpa, access & ~(u32)ACCESS_FINAL);
	switch (mmu_fault(v, gpa, access & ~(u32)ACCESS_FINAL)) {
	case FAULT_DONE:
		return EXIT_RESUME;
	case FAULT_MMIO:
		return exit_mmio(v, gpa, operand);
	default:
		return EXIT_ERROR;
	}
}

enum exit_result exit_mmio(struct vcpu *v, u64 gpa, bool operand)
{
	/*
	 * The event's delivery met no memory, not the instruction at RIP: only the CPU delivers
	 * events.
	 */
	if (unlikely(v->events.delivering.type))
		return exit_internal_error(v, KVM_INTERNAL_ERROR_DELIVERY_EV,
					   v->events.delivering.vector, gpa);
	v->virt.stats.pf_emulate++;
	io_forget(v);
	v->io.hint_gpa = operand ? gpa : 0;
	v->io.memory_only = v->guest_mode;
	return emu_run(v);
}

enum exit_result exit_debug(struct vcpu *v, u64 payload)
{
	struct vcpu_debug *d = &v->cpu.debug;
	struct kvm_run *run = v->virt.run;
	u32 mine = KVM_GUESTDBG_SINGLESTEP | KVM_GUESTDBG_USE_HW_BP;

	if (!(d->guest_debug & KVM_GUESTDBG_ENABLE) || !(d->guest_debug & mine)) {
		event_trap(&v->events, payload, 0);
		return EXIT_RESUME;
	}
	run->exit_reason = KVM_EXIT_DEBUG;
	run->debug.arch.exception = X86_TRAP_DB;
	run->debug.arch.pc = vcpu_linear_rip(v);
	run->debug.arch.dr6 = payload ^ DR6_RESERVED;
	run->debug.arch.dr7 = d->guest_debug & KVM_GUESTDBG_USE_HW_BP ? d->user_dr7 : d->dr7;
	return EXIT_TO_USER;
}

enum exit_result exit_breakpoint(struct vcpu *v, u8 len)
{
	struct kvm_run *run = v->virt.run;

	if (!(v->cpu.debug.guest_debug & KVM_GUESTDBG_USE_SW_BP)) {
		const struct event e = { .type = EVENT_SOFT_EXCEPTION, .vector = X86_TRAP_BP, .len = len };

		event_raise(&v->events, &e);
		return EXIT_RESUME;
	}
	run->exit_reason = KVM_EXIT_DEBUG;
	run->debug.arch.exception = X86_TRAP_BP;
	run->debug.arch.pc = vcpu_linear_rip(v);
	return EXIT_TO_USER;
}

enum exit_result exit_shutdown(struct vcpu *v)
{
	v->virt.run->exit_reason = KVM_EXIT_SHUTDOWN;
	return EXIT_TO_USER;
}
