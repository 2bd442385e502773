// SPDX-License-Identifier: GPL-2.0
/*
 * Instructions that wait for userspace, and their completion at the next KVM_RUN.
 */
#include "backend.h"
#include "emulate/emulate.h"
#include "exit.h"
#include "trace_kvm.h"

#include "../../virt/coalesced.h"

#include <linux/string.h>

void io_forget(struct vcpu *v)
{
	v->io.kind = IO_NONE;
	v->io.nr = 0;
	v->io.waiting = false;
	v->io.hint_gpa = 0;
	v->io.memory_only = false;
}

/* ---- what an SMI is to know of the instruction before it ---- */

void io_note_port(struct vcpu *v, u16 port, unsigned int size, bool in, unsigned long before)
{
	unsigned long rip = vcpu_rip(v);

	/* Not stepped over: its code is gone. */
	if (rip == before)
		return;
	v->io.last = (struct io_last) {
		.io = {
			.port = port, .len = rip - before,
			.flags = SMRAM_IO_VALID | (in ? SMRAM_IO_IN : 0) | size << SMRAM_IO_SIZE_SHIFT,
		},
		.rip = rip,
	};
}

void io_note_emulated(struct vcpu *v, const struct emu *e)
{
	struct emu_port p;

	if (!emu_port_insn(e, &p))
		return;
	/* A count of 0: no port was accessed. */
	if (p.asize && e->regs.gpr[REG_RSI] == v->regs[REG_RSI] &&
	    e->regs.gpr[REG_RDI] == v->regs[REG_RDI])
		return;
	v->io.last = (struct io_last) {
		.io = {
			.port = p.port, .len = e->repeat ? 0 : e->insn.len, .asize = p.asize,
			.flags = SMRAM_IO_VALID | (p.in ? SMRAM_IO_IN : 0) | (p.asize ? SMRAM_IO_STRING : 0) |
				 (p.rep ? SMRAM_IO_REP : 0) | p.size << SMRAM_IO_SIZE_SHIFT,
		},
		.rip = e->regs.rip,
	};
}

void io_last_begins(struct vcpu *v)
{
	struct io_last *l = &v->io.last;

	if (l->user)
		l->rip = vcpu_rip(v);
	l->user = false;
	if (v->virt.wants_run && !io_smi_waits(v))
		io_last_ends(v);
}

const struct smram_io *io_last(struct vcpu *v)
{
	const struct io_last *l = &v->io.last;

	return l->io.flags && (l->user || l->rip == vcpu_rip(v)) ? &l->io : NULL;
}

/* ---- ports ---- */

static enum exit_result step_over(struct vcpu *v, u16 port, unsigned int size, bool in)
{
	unsigned long rip = vcpu_rip(v);
	enum exit_result r = vcpu_skip(v);

	if (io_smi_waits(v))
		io_note_port(v, port, size, in, rip);
	return r;
}

static enum exit_result to_user_io(struct vcpu *v, u16 port, unsigned int size, bool in)
{
	struct kvm_run *run = v->virt.run;

	run->exit_reason = KVM_EXIT_IO;
	run->io.direction = in ? KVM_EXIT_IO_IN : KVM_EXIT_IO_OUT;
	run->io.size = size;
	run->io.port = port;
	run->io.count = 1;
	run->io.data_offset = PAGE_SIZE;
	return EXIT_TO_USER;
}

/* AL, AX or EAX */
static void put_rax(struct vcpu *v, const void *data, unsigned int size)
{
	unsigned long rax = vcpu_reg(v, REG_RAX);

	switch (size) {
	case 1:
		rax = (rax & ~0xfful) | *(const u8 *)data;
		break;
	case 2:
		rax = (rax & ~0xfffful) | *(const u16 *)data;
		break;
	default:
		rax = *(const u32 *)data;
		break;
	}
	vcpu_set_reg(v, REG_RAX, rax);
}

bool io_doorbell(struct vcpu *v, u16 port, unsigned int size)
{
	unsigned long rax = v->regs[REG_RAX];

	if (!virt_iobus_doorbell(&v->virt, VIRT_BUS_PIO, port, size, &rax))
		return false;
	v->virt.stats.io_exits++;
	if (trace_kvm_pio_enabled())
		trace_kvm_pio(true, port, size, &v->regs[REG_RAX]);
	return true;
}

/*
 * OUT is over when userspace sees it: RIP is behind it. IN is over when userspace has answered. A
 * single step's #DB exit after an OUT would need a second exit at once; the trap waits for the next
 * KVM_RUN.
 */
enum exit_result io_port(struct vcpu *v, u16 port, unsigned int size, bool in)
{
	unsigned long rax = v->regs[REG_RAX], rip;
	enum exit_result r;

	if (in) {
		u32 val = 0;

		if (virt_iobus_access(&v->virt, VIRT_BUS_PIO, port, size, &val, false)) {
			trace_kvm_pio(false, port, size, &val);
			put_rax(v, &val, size);
			return step_over(v, port, size, true);
		}
		v->io.kind = IO_PORT_IN;
		v->io.size = size;
		v->io.port = port;
		v->io.rip = vcpu_rip(v);
		return to_user_io(v, port, size, true);
	}
	if (trace_kvm_pio_enabled())
		trace_kvm_pio(true, port, size, &v->regs[REG_RAX]);
	if (virt_iobus_access(&v->virt, VIRT_BUS_PIO, port, size, &rax, true) ||
	    virt_coalesced_write(v->virt.vm, port, size, &rax, true))
		return step_over(v, port, size, false);
	memcpy((void *)v->virt.run + PAGE_SIZE, &rax, size);
	rip = vcpu_rip(v);
	r = vcpu_skip(v);
	io_note_port(v, port, size, false, rip);
	if (r != EXIT_RESUME) {		/* stepping: the port first */
		v->io.kind = IO_PORT_OUT;
		v->io.rip = vcpu_rip(v);
	}
	return to_user_io(v, port, size, false);
}

static enum exit_result complete_in(struct vcpu *v)
{
	trace_kvm_pio(false, v->io.port, v->io.size, (const void *)v->virt.run + PAGE_SIZE);
	put_rax(v, (const void *)v->virt.run + PAGE_SIZE, v->io.size);
	return step_over(v, v->io.port, v->io.size, true);
}

static enum exit_result complete_emulate(struct vcpu *v)
{
	const struct kvm_run *run = v->virt.run;
	struct io_access *a = &v->io.log[v->io.nr];

	if (v->io.waiting) {
		if (!a->write)
			memcpy(a->data, a->pio ? (const void *)run + PAGE_SIZE : run->mmio.data, a->len);
		if (!a->write && a->pio)
			trace_kvm_pio(false, a->addr, a->len, a->data);
		else if (!a->write)
			trace_kvm_mmio(STRATA_MMIO_READ, a->len, a->addr, a->data);
		v->io.waiting = false;
		v->io.nr++;
	}
	return emu_run(v);
}

enum exit_result io_msr(struct vcpu *v, u32 msr, u64 data, bool write, u32 reason)
{
	struct kvm_run *run = v->virt.run;

	v->io.kind = write ? IO_WRMSR : IO_RDMSR;
	v->io.rip = vcpu_rip(v);
	run->exit_reason = write ? KVM_EXIT_X86_WRMSR : KVM_EXIT_X86_RDMSR;
	run->msr.reason = reason;
	run->msr.index = msr;
	run->msr.data = data;
	run->msr.error = 0;
	memset(run->msr.pad, 0, sizeof(run->msr.pad));
	return EXIT_TO_USER;
}

static enum exit_result complete_msr(struct vcpu *v, bool write)
{
	const struct kvm_run *run = v->virt.run;

	trace_kvm_msr(write, run->msr.index, run->msr.data, run->msr.error);
	if (READ_ONCE(run->msr.error)) {
		vcpu_raise_gp(v);
		return EXIT_RESUME;
	}
	if (!write)
		vcpu_set_edx_eax(v, READ_ONCE(run->msr.data));
	return vcpu_skip(v);
}

/**
 * io_complete() - go on with the instruction that waits for userspace
 * @v: the vCPU, at the beginning of KVM_RUN
 *
 * Return: EXIT_RESUME when it is complete (or when userspace has set RIP elsewhere, which drops
 * it).
 */
enum exit_result io_complete(struct vcpu *v)
{
	u8 kind = v->io.kind;

	if (v->io.rip != vcpu_rip(v)) {
		io_forget(v);
		return EXIT_RESUME;
	}
	if (kind == IO_EMULATE)
		return complete_emulate(v);
	if (kind == IO_COMMIT)
		return emu_finish(v);
	v->io.kind = IO_NONE;
	switch (kind) {
	case IO_PORT_IN:
		return complete_in(v);
	case IO_PORT_OUT:
		return exit_debug(v, BIT(14));
	case IO_RDMSR:
		return complete_msr(v, false);
	case IO_WRMSR:
		return complete_msr(v, true);
	default:
		return EXIT_RESUME;
	}
}
