// SPDX-License-Identifier: GPL-2.0
/*
 * Control, debug, model-specific and vector registers for the emulator, and the tables of all that
 * it may ask of the machine.
 */
#include "emu_machine.h"
#include "backend.h"
#include "smm/smm.h"
#include "trace_kvm.h"

#include <asm/debugreg.h>
#include <asm/processor-flags.h>

/* ---- system registers ---- */

static enum emu_status gp_if(struct emu *e, int failed)
{
	return failed ? emu_raise(e, X86_TRAP_GP, true, 0) : EMU_OK;
}

static enum emu_status op_set_cr(struct emu *e, unsigned int nr, u64 val)
{
	struct vcpu *v = emu_vcpu(e);
	enum emu_status s;

	trace_kvm_cr(nr, val);
	switch (nr) {
	case 0:
		s = gp_if(e, cr_set_cr0(v, val));
		e->regs.cr0 = vcpu_cr0(v);
		break;
	case 3:
		s = gp_if(e, cr_set_cr3(v, val));
		e->regs.cr3 = vcpu_cr3(v);
		break;
	case 4:
		s = gp_if(e, cr_set_cr4(v, val));
		e->regs.cr4 = vcpu_cr4(v);
		break;
	case 8:
		return gp_if(e, cr_set_cr8(v, val));
	default:
		return emu_raise(e, X86_TRAP_UD, false, 0);
	}
	e->regs.efer = v->efer;	/* CR0.PG switches LMA */
	return s;
}

static enum emu_status dr_status(struct emu *e, int vector)
{
	switch (vector) {
	case 0:
		return EMU_OK;
	case X86_TRAP_GP:
		return emu_raise(e, X86_TRAP_GP, true, 0);
	default:
		return emu_raise(e, vector, false, 0);
	}
}

static enum emu_status op_get_dr(struct emu *e, unsigned int nr, u64 *val)
{
	unsigned long dr;
	int vector = debug_get(emu_vcpu(e), nr, &dr);

	*val = dr;
	return dr_status(e, vector);
}

static enum emu_status op_set_dr(struct emu *e, unsigned int nr, u64 val)
{
	return dr_status(e, debug_set(emu_vcpu(e), nr, val));
}

static bool is_msr_insn(const struct emu *e)
{
	return e->insn.map == EMU_MAP_0F && (e->insn.opcode == 0x30 || e->insn.opcode == 0x32);
}

/*
 * What the exits of RDMSR and WRMSR do, but what is userspace's: for that the CPU is to have its
 * exit.
 */
static enum emu_status msr_insn(struct emu *e, u32 index, u64 *val, bool write)
{
	struct vcpu *v = emu_vcpu(e);
	int ret = 1;

	if (msr_allowed(v, index, write))
		ret = write ? msr_set(v, index, *val, false) : msr_get(v, index, val, false);
	if (ret < 0 && ret != -ENOENT)
		return EMU_UNHANDLEABLE;
	if (ret)
		return vcpu_vm(v)->cpu.user_space_msr ? EMU_LEAVE : gp_if(e, ret);
	if (write) {	/* among them are bases of segments, and EFER */
		emu_load_rest(e, v);
		e->regs.efer = v->efer;
	}
	return EMU_OK;
}

static enum emu_status op_rdmsr(struct emu *e, u32 index, u64 *val)
{
	return is_msr_insn(e) ? msr_insn(e, index, val, false) : gp_if(e, msr_get(emu_vcpu(e), index, val, false));
}

static enum emu_status op_wrmsr(struct emu *e, u32 index, u64 val)
{
	return is_msr_insn(e) ? msr_insn(e, index, &val, true) : gp_if(e, msr_set(emu_vcpu(e), index, val, false));
}

static enum emu_status op_cpuid(struct emu *e, u32 regs[4])
{
	cpuid_lookup(emu_vcpu(e), regs[0], regs[2], &regs[0], &regs[1], &regs[2], &regs[3]);
	return EMU_OK;
}

static enum emu_status op_rdtsc(struct emu *e, u64 *val)
{
	*val = tsc_guest(emu_vcpu(e), rdtsc());
	return EMU_OK;
}

static enum emu_status op_rdpmc(struct emu *e, u32 index, u64 *val)
{
	return emu_raise(e, X86_TRAP_GP, true, 0);	/* no PMU is offered */
}

static enum emu_status op_unhandled(struct emu *e)
{
	return EMU_UNHANDLEABLE;
}

static enum emu_status op_invlpg(struct emu *e, u64 linear)
{
	backend_call(flush_tlb)(emu_vcpu(e));
	return EMU_OK;
}

static enum emu_status op_rsm(struct emu *e)
{
	return smm_rsm(emu_vcpu(e), e);
}

static enum emu_status op_nothing(struct emu *e)
{
	return EMU_OK;
}

static enum emu_status op_xsetbv(struct emu *e, u32 index, u64 val)
{
	return gp_if(e, cr_set_xcr(emu_vcpu(e), index, val));
}

static enum emu_status op_xgetbv(struct emu *e, u32 index, u64 *val)
{
	struct vcpu *v = emu_vcpu(e);

	if (index)
		return emu_raise(e, X86_TRAP_GP, true, 0);
	*val = v->cpu.xcr0;
	return EMU_OK;
}

/* ---- FPU registers: they are live in the CPU while KVM_RUN goes on ---- */

static enum emu_status op_read_vec(struct emu *e, unsigned int reg, void *buf, unsigned int len)
{
	u8 whole[32];

	fpu_read_vector(reg, whole, len > 16 ? 32 : 16);
	memcpy(buf, whole, len);
	return EMU_OK;
}

static enum emu_status op_write_vec(struct emu *e, unsigned int reg, const void *buf,
				    unsigned int len, bool zero)
{
	u8 whole[32] = { };

	if (!zero)
		fpu_read_vector(reg, whole, len > 16 ? 32 : 16);
	memcpy(whole, buf, len);
	fpu_write_vector(reg, whole, zero || len > 16 ? 32 : 16);
	return EMU_OK;
}

static enum emu_status op_read_mmx(struct emu *e, unsigned int reg, u64 *val)
{
	fpu_read_mmx(reg, val);
	return EMU_OK;
}

static enum emu_status op_write_mmx(struct emu *e, unsigned int reg, u64 val)
{
	fpu_write_mmx(reg, &val);
	return EMU_OK;
}

static enum emu_status op_fnstcw(struct emu *e, u16 *val)
{
	return EMU_UNHANDLEABLE;
}

static enum emu_status op_fnstsw(struct emu *e, u16 *val)
{
	return EMU_UNHANDLEABLE;
}

/*
 * L1 may have an exit for what L2 is to do: the CPU does it, and exits with what such an exit
 * shows. An IRET of L2's is emulated for its end of an NMI handler only, which can be seen
 * otherwise.
 */
static enum emu_status op_task(struct emu *e, enum emu_task_reason reason)
{
	if (likely(!emu_vcpu(e)->guest_mode))
		return EMU_OK;
	return reason == EMU_TASK_IRET ? EMU_UNHANDLEABLE : EMU_LEAVE;
}

const struct emu_ops emu_machine_ops = {
	.prepare	= emu_guest_prepare,
	.fetch		= emu_guest_fetch,
	.read		= emu_guest_read,
	.write		= emu_guest_write,
	.cmpxchg	= emu_guest_cmpxchg,
	.probe		= emu_guest_probe,
	.in		= emu_guest_in,
	.out		= emu_guest_out,
	.set_cr		= op_set_cr,
	.task		= op_task,
	.get_dr		= op_get_dr,
	.set_dr		= op_set_dr,
	.rdmsr		= op_rdmsr,
	.wrmsr		= op_wrmsr,
	.cpuid		= op_cpuid,
	.rdtsc		= op_rdtsc,
	.rdpmc		= op_rdpmc,
	.hlt		= op_unhandled,
	.invlpg		= op_invlpg,
	.wbinvd		= op_nothing,
	.hypercall	= op_unhandled,
	.rsm		= op_rsm,
	.xsetbv		= op_xsetbv,
	.xgetbv		= op_xgetbv,
	.read_vec	= op_read_vec,
	.write_vec	= op_write_vec,
	.read_mmx	= op_read_mmx,
	.write_mmx	= op_write_mmx,
	.fnstcw		= op_fnstcw,
	.fnstsw		= op_fnstsw,
};

/*
 * In L2, where a nested page fault is all that made L0 emulate: the CPU found an access to memory
 * there, and only that is done. If another instruction has taken its place, one that L1 may
 * intercept, the CPU is to execute it.
 */
static enum emu_status leave_in(struct emu *e, u16 port, unsigned int size, u32 *val)
{
	return EMU_LEAVE;
}

static enum emu_status leave_out(struct emu *e, u16 port, unsigned int size, u32 val)
{
	return EMU_LEAVE;
}

static enum emu_status leave_set(struct emu *e, unsigned int nr, u64 val)
{
	return EMU_LEAVE;
}

static enum emu_status leave_task(struct emu *e, enum emu_task_reason reason)
{
	return EMU_LEAVE;
}

static enum emu_status leave_get_dr(struct emu *e, unsigned int nr, u64 *val)
{
	return EMU_LEAVE;
}

static enum emu_status leave_read(struct emu *e, u32 index, u64 *val)
{
	return EMU_LEAVE;
}

static enum emu_status leave_write(struct emu *e, u32 index, u64 val)
{
	return EMU_LEAVE;
}

static enum emu_status leave_cpuid(struct emu *e, u32 regs[4])
{
	return EMU_LEAVE;
}

static enum emu_status leave_rdtsc(struct emu *e, u64 *val)
{
	return EMU_LEAVE;
}

static enum emu_status leave_invlpg(struct emu *e, u64 linear)
{
	return EMU_LEAVE;
}

static enum emu_status leave(struct emu *e)
{
	return EMU_LEAVE;
}

const struct emu_ops emu_memory_ops = {
	.prepare	= emu_guest_prepare,
	.fetch		= emu_guest_fetch,
	.read		= emu_guest_read,
	.write		= emu_guest_write,
	.cmpxchg	= emu_guest_cmpxchg,
	.probe		= emu_guest_probe,
	.in		= leave_in,
	.out		= leave_out,
	.set_cr		= leave_set,
	.task		= leave_task,
	.get_dr		= leave_get_dr,
	.set_dr		= leave_set,
	.rdmsr		= leave_read,
	.wrmsr		= leave_write,
	.cpuid		= leave_cpuid,
	.rdtsc		= leave_rdtsc,
	.rdpmc		= leave_read,
	.hlt		= leave,
	.invlpg		= leave_invlpg,
	.wbinvd		= leave,
	.hypercall	= leave,
	.rsm		= leave,
	.xsetbv		= leave_write,
	.xgetbv		= leave_read,
	.read_vec	= op_read_vec,
	.write_vec	= op_write_vec,
	.read_mmx	= op_read_mmx,
	.write_mmx	= op_write_mmx,
	.fnstcw		= op_fnstcw,
	.fnstsw		= op_fnstsw,
};
