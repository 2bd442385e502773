// SPDX-License-Identifier: GPL-2.0
/*
 * The emulator's accesses to memory, devices and ports.
 *
 * Memory goes linear address -> guest page tables -> slot, or, where there is no slot, to userspace
 * through the access log in struct vcpu_io: accesses that are in the log are replayed, the first
 * that is not ends the attempt.
 */
#include "emu_machine.h"
#include "backend.h"
#include "trace_kvm.h"

#include "../../virt/coalesced.h"

#include <linux/mm.h>

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
 * A write is userspace's to see, but nothing of the instruction depends on it: emulation goes on,
 * and if nothing else needs userspace the result waits for the next KVM_RUN to be committed. A
 * second access finds the first one waiting, and ends the attempt.
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
	/*
	 * The code or its operands changed while userspace served it: what was done cannot be told
	 * from what is asked now.
	 */
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

static enum emu_status translate(struct emu *e, u64 linear, u32 access, u64 *gpa)
{
	struct vcpu *v = emu_vcpu(e);
	struct walk w;
	int ret;

	if (v->io.hint_gpa && !(access & ACCESS_FETCH) &&
	    offset_in_page(linear) == offset_in_page(v->io.hint_gpa) &&
	    emu_has_one_operand(&e->insn)) {
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

/*
 * Both pages of an access are translated before either is touched: a fault must leave nothing done.
 */
static enum emu_status memory(struct emu *e, u64 linear, void *buf, unsigned int len,
			      unsigned int flags, bool write)
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

enum emu_status emu_guest_read(struct emu *e, u64 linear, void *buf, unsigned int len,
			       unsigned int flags)
{
	return memory(e, linear, buf, len, flags, false);
}

enum emu_status emu_guest_write(struct emu *e, u64 linear, const void *buf, unsigned int len,
				unsigned int flags)
{
	return memory(e, linear, (void *)buf, len, flags, true);
}

enum emu_status emu_guest_fetch(struct emu *e, u64 linear, void *buf, unsigned int len)
{
	struct vcpu *v = emu_vcpu(e);
	enum emu_status s;
	u64 gpa;

	s = translate(e, linear, ACCESS_FETCH | (e->cpl == 3 ? ACCESS_USER : 0), &gpa);
	if (s != EMU_OK)
		return s;
	return virt_guest_read(&v->virt, gpa, buf, len) ? EMU_UNHANDLEABLE : EMU_OK;
}

enum emu_status emu_guest_cmpxchg(struct emu *e, u64 linear, const void *old, const void *new,
				  unsigned int len, unsigned int flags)
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

enum emu_status emu_guest_probe(struct emu *e, u64 linear, unsigned int len, unsigned int flags)
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

enum emu_status emu_guest_in(struct emu *e, u16 port, unsigned int size, u32 *val)
{
	return port_access(emu_vcpu(e), port, size, val, true);
}

enum emu_status emu_guest_out(struct emu *e, u16 port, unsigned int size, u32 val)
{
	return port_access(emu_vcpu(e), port, size, &val, false);
}
