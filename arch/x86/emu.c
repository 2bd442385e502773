// SPDX-License-Identifier: GPL-2.0
/*
 * The emulator's machine: struct emu_ops over a vCPU.
 *
 * Memory goes linear address -> guest page tables -> slot, or, where there is no slot, to userspace through the access log in
 * struct vcpu_io: accesses that are in the log are replayed, the first that is not ends the attempt.
 */
#include "backend.h"
#include "exit.h"
#include "emulate/emulate.h"
#include "smm/smm.h"
#include "trace_kvm.h"

#include "../../virt/coalesced.h"

#include <linux/mm.h>
#include <linux/slab.h>
#include <asm/debugreg.h>
#include <asm/processor-flags.h>

static struct vcpu *emu_vcpu(struct emu *e)
{
	return e->ctx;
}

/* ---- MMIO through the log ---- */

/* Controllers and doorbells. What they did is done: it is in the log like what userspace served. */
static bool mmio_in_kernel(struct vcpu *v, u64 gpa, void *buf, unsigned int len, bool write)
{
	if (v->apic && apic_mmio(v, gpa, len, buf, write))
		return true;
	if (vcpu_vm(v)->irq.chips && chips_ioapic_mmio(v, gpa, len, buf, write))
		return true;
	return virt_iobus_access(&v->virt, VIRT_BUS_MMIO, gpa, len, buf, write);
}

/*
 * A write is userspace's to see, but nothing of the instruction depends on it: emulation goes on, and if nothing else needs userspace the
 * result waits for the next KVM_RUN to be committed. A second access finds the first one waiting, and ends the attempt.
 */
static enum emu_status mmio_ask(struct vcpu *v, u64 gpa, void *buf, unsigned int len, bool write)
{
	struct kvm_run *run = v->virt.run;
	struct io_access *a = &v->io.log[v->io.nr];

	if (v->io.waiting)
		return EMU_IO;
	if (v->io.nr == IO_LOG_MAX)
		return EMU_UNHANDLEABLE;
	*a = (struct io_access) { .addr = gpa, .len = len, .write = write };
	if (mmio_in_kernel(v, gpa, buf, len, write)) {
		if (!write)
			memcpy(a->data, buf, len);
		trace_kvm_mmio(write ? STRATA_MMIO_WRITE : STRATA_MMIO_READ, len, gpa, buf);
		v->io.nr++;
		v->io.pos++;
		return EMU_OK;
	}
	trace_kvm_mmio(write ? STRATA_MMIO_WRITE : STRATA_MMIO_UNSATISFIED, len, gpa, buf);
	if (write && virt_coalesced_write(v->virt.vm, gpa, len, buf, false)) {
		v->io.nr++;
		v->io.pos++;
		return EMU_OK;
	}
	run->exit_reason = KVM_EXIT_MMIO;
	run->mmio.phys_addr = gpa;
	run->mmio.len = len;
	run->mmio.is_write = write;
	v->io.waiting = true;
	if (!write)
		return EMU_IO;
	memcpy(run->mmio.data, buf, len);
	return EMU_OK;
}

/* One access of up to 8 bytes within a page to what is not memory. */
static enum emu_status mmio_access(struct vcpu *v, u64 gpa, void *buf, unsigned int len, bool write)
{
	const struct io_access *a = &v->io.log[v->io.pos];

	if (v->io.pos >= v->io.nr)
		return mmio_ask(v, gpa, buf, len, write);
	/* The code or its operands changed while userspace served it: what was done cannot be told from what is asked now. */
	if (a->addr != gpa || a->len != len || a->write != write || a->pio)
		return EMU_UNHANDLEABLE;
	if (!write)
		memcpy(buf, a->data, len);
	v->io.pos++;
	return EMU_OK;
}

static enum emu_status mmio_range(struct vcpu *v, u64 gpa, void *buf, unsigned int len, bool write)
{
	while (len) {
		/* Naturally aligned pieces of at most 8 bytes, as a bus would have them. */
		unsigned int n = min_t(unsigned int, len, 8);
		enum emu_status s = mmio_access(v, gpa, buf, n, write);

		if (s != EMU_OK)
			return s;
		gpa += n;
		buf += n;
		len -= n;
	}
	return EMU_OK;
}

/* ---- memory ---- */

static u32 access_of(struct emu *e, unsigned int flags)
{
	u32 access = flags & EMU_ACC_WRITE ? ACCESS_WRITE : 0;

	if (flags & EMU_ACC_SYSTEM)
		return access | ACCESS_IMPLICIT;
	return e->cpl == 3 ? access | ACCESS_USER : access;
}

/* MOV has one memory operand, and it is what the nested page fault was about. */
static bool has_one_operand(const struct emu_insn *i)
{
	if (i->map == EMU_MAP_1BYTE)
		return (i->opcode >= 0x88 && i->opcode <= 0x8b) || (i->opcode >= 0xa0 && i->opcode <= 0xa3) ||
		       i->opcode == 0xc6 || i->opcode == 0xc7;
	return i->map == EMU_MAP_0F && (i->opcode & 0xf6) == 0xb6;
}

static enum emu_status translate(struct emu *e, u64 linear, u32 access, u64 *gpa)
{
	struct vcpu *v = emu_vcpu(e);
	struct walk w;
	int ret;

	if (v->io.hint_gpa && !(access & ACCESS_FETCH) && offset_in_page(linear) == offset_in_page(v->io.hint_gpa) &&
	    has_one_operand(&e->insn)) {
		*gpa = v->io.hint_gpa;
		v->io.hinted = true;
		return EMU_OK;
	}
	ret = mmu_walk(v, linear, access, &w);

	if (ret == 2)
		return EMU_RETRY;	/* L1 is to have its exit first */
	if (ret > 0)
		return emu_raise_pf(e, linear, w.error);
	if (ret < 0)
		return EMU_UNHANDLEABLE;
	*gpa = w.gpa;
	return EMU_OK;
}

static bool is_memory(struct vcpu *v, u64 gpa, bool write)
{
	struct virt_slot *slot = virt_vcpu_slot(&v->virt, gpa >> PAGE_SHIFT);

	return slot && !(write && (slot->flags & KVM_MEM_READONLY));
}

/* The part of an access that lies in one page. */
static enum emu_status page_access(struct emu *e, u64 gpa, void *buf, unsigned int len, bool write)
{
	struct vcpu *v = emu_vcpu(e);
	int ret;

	if ((v->io.hinted && gpa == v->io.hint_gpa) || !is_memory(v, gpa, write))
		return mmio_range(v, gpa, buf, len, write);
	if (write && v->io.waiting)
		return EMU_IO;	/* not before the device has seen its write */
	ret = write ? virt_guest_write(&v->virt, gpa, buf, len) : virt_guest_read(&v->virt, gpa, buf, len);
	return ret ? EMU_UNHANDLEABLE : EMU_OK;
}

/* Both pages of an access are translated before either is touched: a fault must leave nothing done. */
static enum emu_status memory(struct emu *e, u64 linear, void *buf, unsigned int len, unsigned int flags, bool write)
{
	unsigned int first = min_t(unsigned int, len, PAGE_SIZE - offset_in_page(linear));
	u32 access = access_of(e, flags) | (write ? ACCESS_WRITE : 0);
	enum emu_status s;
	u64 gpa, gpa2 = 0;

	s = translate(e, linear, access, &gpa);
	if (s == EMU_OK && first < len)
		s = translate(e, linear + first, access, &gpa2);
	if (s == EMU_OK)
		s = page_access(e, gpa, buf, first, write);
	if (s == EMU_OK && first < len)
		s = page_access(e, gpa2, buf + first, len - first, write);
	return s;
}

static enum emu_status op_read(struct emu *e, u64 linear, void *buf, unsigned int len, unsigned int flags)
{
	return memory(e, linear, buf, len, flags, false);
}

static enum emu_status op_write(struct emu *e, u64 linear, const void *buf, unsigned int len, unsigned int flags)
{
	return memory(e, linear, (void *)buf, len, flags, true);
}

static enum emu_status op_fetch(struct emu *e, u64 linear, void *buf, unsigned int len)
{
	struct vcpu *v = emu_vcpu(e);
	enum emu_status s;
	u64 gpa;

	s = translate(e, linear, ACCESS_FETCH | (e->cpl == 3 ? ACCESS_USER : 0), &gpa);
	if (s != EMU_OK)
		return s;
	return virt_guest_read(&v->virt, gpa, buf, len) ? EMU_UNHANDLEABLE : EMU_OK;
}

static enum emu_status op_cmpxchg(struct emu *e, u64 linear, const void *old, const void *new, unsigned int len, unsigned int flags)
{
	struct vcpu *v = emu_vcpu(e);
	u8 expect[16];
	enum emu_status s;
	u64 gpa;
	int ret;

	if (v->io.waiting)
		return EMU_IO;
	s = translate(e, linear, access_of(e, flags) | ACCESS_WRITE, &gpa);
	if (s != EMU_OK)
		return s;
	/* A split lock, 16 bytes, or a device: not atomic there either. */
	if (!virt_guest_atomic(gpa, len) || !is_memory(v, gpa, true))
		return memory(e, linear, (void *)new, len, flags, true);
	memcpy(expect, old, len);
	ret = virt_guest_cmpxchg(&v->virt, gpa, expect, new, len);
	return ret == -EAGAIN ? EMU_RETRY : ret ? EMU_UNHANDLEABLE : EMU_OK;
}

static enum emu_status op_probe(struct emu *e, u64 linear, unsigned int len, unsigned int flags)
{
	unsigned int first = min_t(unsigned int, len, PAGE_SIZE - offset_in_page(linear));
	enum emu_status s;
	u64 gpa;

	s = translate(e, linear, access_of(e, flags), &gpa);
	if (s == EMU_OK && first < len)
		s = translate(e, linear + first, access_of(e, flags), &gpa);
	return s;
}

/* ---- ports ---- */

static enum emu_status port_ask(struct vcpu *v, u16 port, unsigned int size, u32 *val, bool in)
{
	struct kvm_run *run = v->virt.run;
	struct io_access *a = &v->io.log[v->io.nr];

	if (v->io.waiting)
		return EMU_IO;
	if (v->io.nr == IO_LOG_MAX)
		return EMU_UNHANDLEABLE;
	*a = (struct io_access) { .addr = port, .len = size, .write = !in, .pio = true };
	if (virt_iobus_access(&v->virt, VIRT_BUS_PIO, port, size, val, !in)) {
		if (in)
			memcpy(a->data, val, size);
		trace_kvm_pio(!in, port, size, val);
		v->io.nr++;
		v->io.pos++;
		return EMU_OK;
	}
	if (!in)
		trace_kvm_pio(true, port, size, val);
	if (!in && virt_coalesced_write(v->virt.vm, port, size, val, true)) {
		v->io.nr++;
		v->io.pos++;
		return EMU_OK;
	}
	run->exit_reason = KVM_EXIT_IO;
	run->io.direction = in ? KVM_EXIT_IO_IN : KVM_EXIT_IO_OUT;
	run->io.size = size;
	run->io.port = port;
	run->io.count = 1;
	run->io.data_offset = PAGE_SIZE;
	v->io.waiting = true;
	if (in)
		return EMU_IO;
	memcpy((void *)run + PAGE_SIZE, val, size);
	return EMU_OK;
}

static enum emu_status port_access(struct vcpu *v, u16 port, unsigned int size, u32 *val, bool in)
{
	const struct io_access *a = &v->io.log[v->io.pos];

	if (v->io.pos >= v->io.nr)
		return port_ask(v, port, size, val, in);
	if (a->addr != port || a->len != size || a->write != !in || !a->pio)
		return EMU_UNHANDLEABLE;
	if (in) {
		*val = 0;
		memcpy(val, a->data, size);
	}
	v->io.pos++;
	return EMU_OK;
}

static enum emu_status op_in(struct emu *e, u16 port, unsigned int size, u32 *val)
{
	return port_access(emu_vcpu(e), port, size, val, true);
}

static enum emu_status op_out(struct emu *e, u16 port, unsigned int size, u32 val)
{
	return port_access(emu_vcpu(e), port, size, &val, false);
}

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

/*
 * RDMSR and WRMSR have exits of their own, which ask the filter. Here they are what another CPU, or userspace while it served an access,
 * has put in the place of an instruction that exited for something else: the CPU is to meet them itself.
 */
static bool is_msr_insn(const struct emu *e)
{
	return e->insn.map == EMU_MAP_0F && (e->insn.opcode == 0x30 || e->insn.opcode == 0x32);
}

static enum emu_status op_rdmsr(struct emu *e, u32 index, u64 *val)
{
	return is_msr_insn(e) ? EMU_RETRY : gp_if(e, msr_get(emu_vcpu(e), index, val, false));
}

static enum emu_status op_wrmsr(struct emu *e, u32 index, u64 val)
{
	return is_msr_insn(e) ? EMU_RETRY : gp_if(e, msr_set(emu_vcpu(e), index, val, false));
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

static enum emu_status op_write_vec(struct emu *e, unsigned int reg, const void *buf, unsigned int len, bool zero)
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
 * L1 may have an exit for what L2 is to do: the CPU does it, and exits with what such an exit shows. An IRET of L2's is emulated for its end of an
 * NMI handler only, which can be seen otherwise.
 */
static enum emu_status op_task(struct emu *e, enum emu_task_reason reason)
{
	if (likely(!emu_vcpu(e)->guest_mode))
		return EMU_OK;
	return reason == EMU_TASK_IRET ? EMU_UNHANDLEABLE : EMU_RETRY;
}

static enum emu_status op_prepare(struct emu *e);

static const struct emu_ops ops = {
	.prepare	= op_prepare,
	.fetch		= op_fetch,
	.read		= op_read,
	.write		= op_write,
	.cmpxchg	= op_cmpxchg,
	.probe		= op_probe,
	.in		= op_in,
	.out		= op_out,
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
 * In L2, where a nested page fault is all that made L0 emulate: the CPU found an access to memory there, and only that is done. If another
 * instruction has taken its place, one that L1 may intercept, the CPU is to execute it.
 */
static enum emu_status retry_in(struct emu *e, u16 port, unsigned int size, u32 *val)
{
	return EMU_RETRY;
}

static enum emu_status retry_out(struct emu *e, u16 port, unsigned int size, u32 val)
{
	return EMU_RETRY;
}

static enum emu_status retry_set(struct emu *e, unsigned int nr, u64 val)
{
	return EMU_RETRY;
}

static enum emu_status retry_task(struct emu *e, enum emu_task_reason reason)
{
	return EMU_RETRY;
}

static enum emu_status retry_get_dr(struct emu *e, unsigned int nr, u64 *val)
{
	return EMU_RETRY;
}

static enum emu_status retry_read(struct emu *e, u32 index, u64 *val)
{
	return EMU_RETRY;
}

static enum emu_status retry_write(struct emu *e, u32 index, u64 val)
{
	return EMU_RETRY;
}

static enum emu_status retry_cpuid(struct emu *e, u32 regs[4])
{
	return EMU_RETRY;
}

static enum emu_status retry_rdtsc(struct emu *e, u64 *val)
{
	return EMU_RETRY;
}

static enum emu_status retry_invlpg(struct emu *e, u64 linear)
{
	return EMU_RETRY;
}

static enum emu_status retry(struct emu *e)
{
	return EMU_RETRY;
}

static const struct emu_ops memory_ops = {
	.prepare	= op_prepare,
	.fetch		= op_fetch,
	.read		= op_read,
	.write		= op_write,
	.cmpxchg	= op_cmpxchg,
	.probe		= op_probe,
	.in		= retry_in,
	.out		= retry_out,
	.set_cr		= retry_set,
	.task		= retry_task,
	.get_dr		= retry_get_dr,
	.set_dr		= retry_set,
	.rdmsr		= retry_read,
	.wrmsr		= retry_write,
	.cpuid		= retry_cpuid,
	.rdtsc		= retry_rdtsc,
	.rdpmc		= retry_read,
	.hlt		= retry,
	.invlpg		= retry_invlpg,
	.wbinvd		= retry,
	.hypercall	= retry,
	.rsm		= retry,
	.xsetbv		= retry_write,
	.xgetbv		= retry_read,
	.read_vec	= op_read_vec,
	.write_vec	= op_write_vec,
	.read_mmx	= op_read_mmx,
	.write_mmx	= op_write_mmx,
	.fnstcw		= op_fnstcw,
	.fnstsw		= op_fnstsw,
};

/* ---- what the guest's CPUID means to the emulator ---- */

u32 emu_guest_features(struct vcpu *v)
{
	static const struct { u32 leaf; u8 reg, bit; u32 feature; } map[] = {
		{ 1, 2, 0, EMU_FEAT_SSE3 }, { 1, 2, 13, EMU_FEAT_CX16 }, { 1, 2, 19, EMU_FEAT_SSE4_1 }, { 1, 2, 22, EMU_FEAT_MOVBE },
		{ 1, 2, 23, EMU_FEAT_POPCNT }, { 1, 2, 28, EMU_FEAT_AVX }, { 1, 3, 26, EMU_FEAT_SSE },
		{ 7, 1, 0, EMU_FEAT_FSGSBASE }, { 7, 1, 3, EMU_FEAT_BMI1 }, { 7, 1, 5, EMU_FEAT_AVX2 }, { 7, 1, 8, EMU_FEAT_BMI2 },
		{ 7, 2, 22, EMU_FEAT_RDPID },
		{ 0x80000001, 2, 0, EMU_FEAT_LAHF_LM }, { 0x80000001, 2, 4, EMU_FEAT_ALTMOVCR8 },
		{ 0x80000001, 2, 5, EMU_FEAT_LZCNT }, { 0x80000001, 3, 27, EMU_FEAT_RDTSCP },
	};
	u32 features = 0;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(map); i++) {
		u32 r[4];

		if (cpuid_lookup(v, map[i].leaf, 0, &r[0], &r[1], &r[2], &r[3]) && (r[map[i].reg] & BIT(map[i].bit)))
			features |= map[i].feature;
	}
	return features;
}

/* ---- registers in and out ---- */

static void store_segment(struct vcpu *v, const struct emu_seg *s, enum seg seg)
{
	const struct kvm_segment k = {
		.base = s->base, .limit = s->limit, .selector = s->selector, .type = s->type, .s = s->s, .dpl = s->dpl,
		.present = s->p, .avl = s->avl, .l = s->l, .db = s->db, .g = s->g, .unusable = s->unusable,
	};

	backend_call(set_segment)(v, &k, seg);
}

static void load_table(struct vcpu *v, struct emu_table *t, bool idt)
{
	struct kvm_dtable dt;

	backend_call(get_dt)(v, &dt, idt);
	*t = (struct emu_table) { .base = dt.base, .limit = dt.limit };
}

static void store_table(struct vcpu *v, const struct emu_table *t, bool idt)
{
	const struct kvm_dtable dt = { .base = t->base, .limit = t->limit };

	backend_call(set_dt)(v, &dt, idt);
}

static unsigned long linear_rip(const struct emu *e)
{
	if (emu_mode(&e->regs) == EMU_MODE_64)
		return e->regs.rip;
	return (u32)(e->regs.seg[EMU_CS].base + e->regs.rip);
}

static void load_segment(struct vcpu *v, struct emu_seg *s, enum seg seg)
{
	struct kvm_segment k;

	backend_call(get_segment)(v, &k, seg);
	*s = (struct emu_seg) {
		.base = k.base, .limit = k.limit, .selector = k.selector, .type = k.type, .s = k.s, .dpl = k.dpl,
		.p = k.present, .avl = k.avl, .l = k.l, .db = k.db, .g = k.g, .unusable = k.unusable,
	};
}

/* What decoding and most instructions need. */
static void emu_load(struct emu *e, struct vcpu *v)
{
	struct emu_regs *r = &e->regs;

	e->ops = unlikely(v->io.memory_only) ? &memory_ops : &ops;
	e->ctx = v;
	e->features = v->emu_features;
	e->amd = guest_has(v, GUEST_AMD);
	e->cpl = backend_call(cpl)(v);
	e->nbytes = 0;
	e->committed = false;
	vcpu_need_reg(v, REG_RSP);
	memcpy(r->gpr, v->regs, sizeof(r->gpr));
	r->rip = vcpu_rip(v);
	r->rflags = vcpu_rflags(v);
	load_segment(v, &r->seg[EMU_CS], SEG_CS);
	r->cr0 = vcpu_cr0(v);
	r->cr2 = v->cr2;
	r->cr4 = vcpu_cr4(v);
	r->cr8 = v->cr8;
	r->efer = v->efer;
}

static void emu_load_rest(struct emu *e, struct vcpu *v)
{
	struct emu_regs *r = &e->regs;

	backend_call(get_segments)(v, r->seg);
	load_table(v, &r->gdtr, false);
	load_table(v, &r->idtr, true);
	r->cr3 = vcpu_cr3(v);
}

/* Few instructions touch more than general registers: those of one byte that load no segment, and of two bytes from MOVcc on. */
static bool only_general(const struct emu *e)
{
	return has_one_operand(&e->insn) && !e->committed;
}

/* A MOV to or from memory in 64-bit mode has no use for a segment, but for FS and GS. */
static enum emu_status op_prepare(struct emu *e)
{
	struct vcpu *v = emu_vcpu(e);

	/* Not what the CPU exited for, but put in its place meanwhile: L1 is to have its exit. */
	if (unlikely(v->guest_mode) && backend_call(nested_intercepts)(v, e))
		return EMU_RETRY;
	if (e->mode != EMU_MODE_64 || e->insn.seg == EMU_FS || e->insn.seg == EMU_GS || !has_one_operand(&e->insn))
		emu_load_rest(e, v);
	return EMU_OK;
}

static void commit_system(struct vcpu *v, const struct emu_regs *r)
{
	struct emu_seg now[NR_SEGS];
	unsigned int i;

	backend_call(get_segments)(v, now);
	for (i = 0; i < NR_SEGS; i++) {
		if (memcmp(&now[i], &r->seg[i], sizeof(now[i])))
			store_segment(v, &r->seg[i], i);
	}
	store_table(v, &r->gdtr, false);
	store_table(v, &r->idtr, true);
}

static void emu_commit(struct emu *e, struct vcpu *v)
{
	const struct emu_regs *r = &e->regs;
	u32 mask = GENMASK(REG_R15, REG_RAX) | BIT(REG_RIP) | BIT(REG_RFLAGS);

	memcpy(v->regs, r->gpr, sizeof(r->gpr));
	v->regs[REG_RIP] = r->rip;
	v->regs[REG_RFLAGS] = r->rflags;
	v->cr2 = r->cr2;
	v->regs_avail |= mask;
	v->regs_dirty |= mask;
	if (!only_general(e))
		commit_system(v, r);
	if (unlikely(e->unmask_nmi))
		event_nmi_unmask(&v->events);
	backend_call(set_shadow)(v, e->shadow == EMU_SHADOW_STI ? SHADOW_STI : e->shadow == EMU_SHADOW_MOV_SS ? SHADOW_MOV_SS : 0);
}

static void raise_from(struct vcpu *v, const struct emu_exception *x)
{
	static const u8 type[] = {
		[EMU_EVENT_EXCEPTION]	= EVENT_EXCEPTION,
		[EMU_EVENT_SOFT_INT]	= EVENT_SOFT_INT,
		[EMU_EVENT_SOFT_EXC]	= EVENT_SOFT_EXCEPTION,
		[EMU_EVENT_PRIV_EXC]	= EVENT_PRIV_EXCEPTION,
	};
	const struct event ev = {
		.type = type[x->kind], .vector = x->vector, .len = x->len, .has_error = x->has_error,
		.has_payload = x->has_payload, .error = x->error, .payload = x->payload,
	};

	event_raise(&v->events, &ev);
}

static enum exit_result unhandleable(struct vcpu *v, const struct emu *e)
{
	struct kvm_run *run = v->virt.run;

	v->virt.stats.insn_emulation_fail++;
	run->exit_reason = KVM_EXIT_INTERNAL_ERROR;
	run->emulation_failure.suberror = KVM_INTERNAL_ERROR_EMULATION;
	run->emulation_failure.ndata = 4;	/* flags, size and 15 bytes (padded to 16) */
	run->emulation_failure.flags = KVM_INTERNAL_ERROR_EMULATION_FLAG_INSTRUCTION_BYTES;
	run->emulation_failure.insn_size = e->nbytes;
	memset(run->emulation_failure.insn_bytes, 0x90, sizeof(run->emulation_failure.insn_bytes));
	memcpy(run->emulation_failure.insn_bytes, e->bytes, min_t(unsigned int, e->nbytes, EMU_MAX_INSN));
	return EXIT_TO_USER;
}

static enum exit_result emu_done(struct vcpu *v, struct emu *e, enum emu_status s, unsigned long rflags)
{
	switch (s) {
	case EMU_OK:
		if (v->io.waiting) {
			v->virt.stats.mmio_exits++;
			v->io.kind = IO_COMMIT;
			v->io.rflags = rflags;
			return EXIT_TO_USER;
		}
		emu_commit(e, v);
		io_forget(v);
		if (unlikely(e->halt))
			return vcpu_halt(v);
		return e->shadow == EMU_SHADOW_MOV_SS ? EXIT_RESUME : vcpu_after_insn(v, rflags);
	case EMU_FAULT:
		if (e->committed)
			emu_commit(e, v);
		io_forget(v);
		raise_from(v, &e->exc);
		return EXIT_RESUME;
	case EMU_IO:
		v->virt.stats.mmio_exits++;
		v->io.kind = IO_EMULATE;
		return EXIT_TO_USER;
	case EMU_RETRY:
		io_forget(v);
		return EXIT_RESUME;
	default:
		io_forget(v);
		return unhandleable(v, e);
	}
}

enum exit_result emu_run(struct vcpu *v)
{
	unsigned long rflags = vcpu_rflags(v);
	struct emu *e = v->emu;

	v->virt.stats.insn_emulation++;
	v->io.pos = 0;
	v->io.rip = vcpu_rip(v);
	v->io.hinted = false;
	emu_load(e, v);
	/* The CPU has fetched these bytes itself; where they are not at hand the emulator fetches them with every check. */
	if (!mmu_fetch_nofault(v, linear_rip(e), e->bytes, EMU_MAX_INSN))
		e->nbytes = EMU_MAX_INSN;
	return emu_done(v, e, emulate(e), rflags);
}

/* Userspace has seen the write that was all the instruction waited for. */
enum exit_result emu_finish(struct vcpu *v)
{
	v->io.waiting = false;
	return emu_done(v, v->emu, EMU_OK, v->io.rflags);
}

int emu_vcpu_init(struct vcpu *v)
{
	v->emu = kmalloc(sizeof(*v->emu), GFP_KERNEL_ACCOUNT);
	return v->emu ? 0 : -ENOMEM;
}

void emu_vcpu_destroy(struct vcpu *v)
{
	kfree(v->emu);
}

/* Bytes at RIP, as far as they can be had: up to 15, over a page boundary. */
static unsigned int fetch_bytes(struct vcpu *v, struct emu *e)
{
	unsigned long linear = vcpu_linear_rip(v);
	unsigned int first = min_t(unsigned int, EMU_MAX_INSN, PAGE_SIZE - offset_in_page(linear));

	emu_load(e, v);
	if (op_fetch(e, linear, e->bytes, first) != EMU_OK)
		return 0;
	if (first < EMU_MAX_INSN && op_fetch(e, linear + first, e->bytes + first, EMU_MAX_INSN - first) == EMU_OK)
		return EMU_MAX_INSN;
	return first;
}

unsigned int emu_insn_length(struct vcpu *v)
{
	struct emu_insn insn;
	struct emu *e = v->emu;
	unsigned int n = fetch_bytes(v, e);

	if (!n || emu_decode(&insn, e->bytes, n, vcpu_insn_mode(v)))
		return 0;
	return insn.len;
}

bool emu_at_rsm(struct vcpu *v)
{
	struct emu_insn insn;
	unsigned int n = fetch_bytes(v, v->emu);

	return n && !emu_decode(&insn, v->emu->bytes, n, vcpu_insn_mode(v)) && insn.map == EMU_MAP_0F && insn.opcode == 0xaa;
}

bool emu_at_vmcall(struct vcpu *v)
{
	unsigned int n = fetch_bytes(v, v->emu);

	return n && emu_skip_length(v->emu->bytes, n, vcpu_insn_mode(v), EMU_SKIP_VMCALL) == 3;
}

unsigned int emu_soft_length(struct vcpu *v, const struct event *ev)
{
	struct emu_insn insn;
	struct emu *e = v->emu;
	unsigned int n = fetch_bytes(v, e);

	if (!n || emu_decode(&insn, e->bytes, n, vcpu_insn_mode(v)) || insn.map != EMU_MAP_1BYTE)
		return 0;
	switch (insn.opcode) {
	case 0xcc:
		return ev->vector == X86_TRAP_BP ? insn.len : 0;
	case 0xcd:
		return ev->vector == (u8)insn.imm ? insn.len : 0;
	case 0xce:
		return ev->vector == X86_TRAP_OF ? insn.len : 0;
	case 0xf1:
		return ev->vector == X86_TRAP_DB ? insn.len : 0;
	default:
		return 0;
	}
}

enum exit_result exit_task_switch(struct vcpu *v, u16 selector, int reason, bool has_error, u32 error, bool soft)
{
	unsigned int len = soft ? emu_insn_length(v) : 0;
	unsigned long rflags = vcpu_rflags(v);
	struct emu *e = v->emu;
	enum emu_status s;

	io_forget(v);
	emu_load(e, v);
	emu_load_rest(e, v);
	e->regs.rip += len;
	e->insn.map = EMU_MAP_1BYTE;	/* no instruction: everything is committed */
	e->insn.opcode = 0;
	e->unmask_nmi = reason == EMU_TASK_IRET;
	s = emulate_task_switch(e, selector, reason, has_error, error);
	/* Memory that userspace serves holds no TSS. */
	return emu_done(v, e, s == EMU_IO || v->io.waiting ? EMU_UNHANDLEABLE : s, rflags);
}
