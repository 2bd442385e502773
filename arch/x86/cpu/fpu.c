// SPDX-License-Identifier: GPL-2.0
/*
 * Guest FPU: the kernel's guest-fpu buffer, its ioctls, XCR0/XSS/PKRU around an entry, and vector
 * registers for the emulator.
 *
 * During KVM_RUN the guest's registers are the thread's: the kernel saves and loads them over
 * preemption and kernel FPU use like any thread's, and TIF_NEED_FPU_LOAD says whether they are in
 * the CPU. Outside KVM_RUN they are in memory. IA32_XSS is 0 for guests (no supervisor state is
 * offered); AMX is not offered.
 */
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <asm/fpu/api.h>
#include <asm/fpu/xcr.h>
#include <asm/msr.h>
#include <asm/pkru.h>

#include "../strata.h"
#include "rows.h"
#include "../../../include/compat/cpu.h"

#define XCR_SWITCH_XCR0	BIT(0)
#define XCR_SWITCH_XSS	BIT(1)
#define XCR_SWITCH_PKRU	BIT(2)

static u64 host_xcr0;
/*
 * The host is QEMU's TCG, which does not intercept XSETBV: what a guest did to XCR0 is found when
 * it has exited.
 */
static bool xsetbv_unseen;
static u64 host_xss;

void fpu_host_init(void)
{
	host_xcr0 = boot_cpu_has(X86_FEATURE_OSXSAVE) ? xgetbv(XCR_XFEATURE_ENABLED_MASK) : 0;
	xsetbv_unseen = hypervisor_cpuid_base("TCGTCGTCGTCG", 0);
	host_xss = 0;
	if (boot_cpu_has(X86_FEATURE_XSAVES))
		rdmsrl_safe(MSR_IA32_XSS, &host_xss);
}

int fpu_vcpu_init(struct vcpu *v)
{
	return fpu_alloc_guest_fpstate(&v->cpu.fpu) ? 0 : -ENOMEM;
}

void fpu_vcpu_destroy(struct vcpu *v)
{
	if (v->cpu.fpu.fpstate)
		fpu_free_guest_fpstate(&v->cpu.fpu);
	v->cpu.fpu.fpstate = NULL;
}

/* A fresh buffer is in the initial state; INIT leaves the FPU as it is. XCR0 is 1 after both. */
void fpu_reset(struct vcpu *v, bool init)
{
	v->cpu.xcr0 = XCR0_FP;
	if (!init)
		v->cpu.pkru = 0;
	xcr_changed(v);
}

void xcr_changed(struct vcpu *v)
{
	unsigned long cr4 = vcpu_cr4(v);
	bool xsave = cr4 & CR4_OSXSAVE;
	u8 what = 0;

	if (xsave && (v->cpu.xcr0 != host_xcr0 || xsetbv_unseen))
		what |= XCR_SWITCH_XCR0;
	/*
	 * XSAVES and XRSTORS are there for the guest with or without its CPUID bit: they must not
	 * see the host's components.
	 */
	if (xsave && boot_cpu_has(X86_FEATURE_XSAVES) && v->cpu.xss != host_xss)
		what |= XCR_SWITCH_XSS;
	if (boot_cpu_has(X86_FEATURE_OSPKE) &&
	    ((cr4 & CR4_PKE) || (xsave && (v->cpu.xcr0 & XCR0_PKRU))))
		what |= XCR_SWITCH_PKRU;
	v->cpu.xcr_switch = what;
}

void xcr_load_guest(struct vcpu *v)
{
	struct vcpu_cpu *c = &v->cpu;

	if (c->xcr_switch & XCR_SWITCH_XCR0) {
		xsetbv(XCR_XFEATURE_ENABLED_MASK, c->xcr0);
		c->xcr0_loaded = true;
	}
	if (c->xcr_switch & XCR_SWITCH_XSS)
		wrmsrl(MSR_IA32_XSS, c->xss);
	if (c->xcr_switch & XCR_SWITCH_PKRU) {
		c->host_pkru = rdpkru();
		if (c->pkru != c->host_pkru)
			wrpkru(c->pkru);
	}
}

void xcr_load_host(struct vcpu *v)
{
	struct vcpu_cpu *c = &v->cpu;
	u8 what = c->xcr_switch;
	u64 xcr0;

	if (what & XCR_SWITCH_PKRU) {
		c->pkru = rdpkru();
		if (c->pkru != c->host_pkru)
			wrpkru(c->host_pkru);
	}
	if (what & XCR_SWITCH_XSS)
		wrmsrl(MSR_IA32_XSS, host_xss);
	if (what & XCR_SWITCH_XCR0) {
		xcr0 = xgetbv(XCR_XFEATURE_ENABLED_MASK);
		xsetbv(XCR_XFEATURE_ENABLED_MASK, host_xcr0);
		c->xcr0_loaded = false;
		if (unlikely(xcr0 != c->xcr0 || (xcr0 == host_xcr0 && !xsetbv_unseen)))
			cr_apply_xcr0(v, xcr0);
	}
}

void xcr0_sync(struct vcpu *v)
{
	u64 xcr0;

	if (!v->cpu.xcr0_loaded)
		return;
	xcr0 = xgetbv(XCR_XFEATURE_ENABLED_MASK);
	if (xcr0 == v->cpu.xcr0)
		return;
	/* What has to be switched back is decided already: xcr_load_host() works out the rest. */
	v->cpu.xcr0 = xcr0;
	cpuid_runtime_changed(v);
}

/* The guest's registers, in the CPU, until fpregs_unlock() */
static void own_fpregs(void)
{
	fpregs_lock();
	if (test_thread_flag(TIF_NEED_FPU_LOAD))
		switch_fpu_return();
}

#define VECTOR_CASE(n, insn, kind, to_mem)						\
	case n:										\
		if (to_mem)								\
			asm volatile(insn " %%" kind #n ", %0" : "=m" (*b));		\
		else									\
			asm volatile(insn " %0, %%" kind #n : : "m" (*b));		\
		break;

#define VECTOR_CASES8(insn, kind, to_mem)						\
	VECTOR_CASE(0, insn, kind, to_mem) VECTOR_CASE(1, insn, kind, to_mem)		\
	VECTOR_CASE(2, insn, kind, to_mem) VECTOR_CASE(3, insn, kind, to_mem)		\
	VECTOR_CASE(4, insn, kind, to_mem) VECTOR_CASE(5, insn, kind, to_mem)		\
	VECTOR_CASE(6, insn, kind, to_mem) VECTOR_CASE(7, insn, kind, to_mem)

#define VECTOR_CASES16(insn, kind, to_mem)						\
	VECTOR_CASES8(insn, kind, to_mem)						\
	VECTOR_CASE(8, insn, kind, to_mem) VECTOR_CASE(9, insn, kind, to_mem)		\
	VECTOR_CASE(10, insn, kind, to_mem) VECTOR_CASE(11, insn, kind, to_mem)		\
	VECTOR_CASE(12, insn, kind, to_mem) VECTOR_CASE(13, insn, kind, to_mem)		\
	VECTOR_CASE(14, insn, kind, to_mem) VECTOR_CASE(15, insn, kind, to_mem)

struct vec8 { u8 b[8]; };
struct vec16 { u8 b[16]; };
struct vec32 { u8 b[32]; };

static void move_xmm(unsigned int reg, struct vec16 *b, bool to_mem)
{
	switch (reg) {
	VECTOR_CASES16("movdqu", "xmm", to_mem)
	}
}

static void move_ymm(unsigned int reg, struct vec32 *b, bool to_mem)
{
	switch (reg) {
	VECTOR_CASES16("vmovdqu", "ymm", to_mem)
	}
}

static void move_mmx(unsigned int reg, struct vec8 *b, bool to_mem)
{
	switch (reg) {
	VECTOR_CASES8("movq", "mm", to_mem)
	}
}

void fpu_read_vector(unsigned int reg, void *buf, unsigned int len)
{
	own_fpregs();
	if (len == 32)
		move_ymm(reg, buf, true);
	else
		move_xmm(reg, buf, true);
	fpregs_unlock();
}

void fpu_write_vector(unsigned int reg, const void *buf, unsigned int len)
{
	own_fpregs();
	if (len == 32)
		move_ymm(reg, (void *)buf, false);
	else
		move_xmm(reg, (void *)buf, false);
	fpregs_unlock();
}

void fpu_read_mmx(unsigned int reg, void *buf)
{
	own_fpregs();
	move_mmx(reg, buf, true);
	fpregs_unlock();
}

void fpu_write_mmx(unsigned int reg, const void *buf)
{
	own_fpregs();
	move_mmx(reg, (void *)buf, false);
	fpregs_unlock();
}

/* XSAVE leaves a component in its initial state out of memory: what is there is stale then. */
static u64 components_in_memory(const struct fpstate *fps)
{
	return boot_cpu_has(X86_FEATURE_XSAVE) ? fps->regs.xsave.header.xfeatures : XFEATURE_MASK_FPSSE;
}

static long get_fpu(struct virt_vcpu *vv, void *data, unsigned long raw)
{
	struct fpstate *fps = to_vcpu(vv)->cpu.fpu.fpstate;
	const struct fxregs_state *fx = &fps->regs.fxsave;
	u64 there = components_in_memory(fps);
	struct kvm_fpu *fpu = data;

	fpu->fcw = 0x37f;
	if (there & XFEATURE_MASK_FP) {
		memcpy(fpu->fpr, fx->st_space, sizeof(fpu->fpr));
		fpu->fcw = fx->cwd;
		fpu->fsw = fx->swd;
		fpu->ftwx = fx->twd;
		fpu->last_opcode = fx->fop;
		fpu->last_ip = fx->rip;
		fpu->last_dp = fx->rdp;
	}
	if (there & XFEATURE_MASK_SSE)
		memcpy(fpu->xmm, fx->xmm_space, sizeof(fpu->xmm));
	fpu->mxcsr = fx->mxcsr;
	return 0;
}

static long set_fpu(struct virt_vcpu *vv, void *data, unsigned long raw)
{
	struct fpstate *fps = to_vcpu(vv)->cpu.fpu.fpstate;
	struct fxregs_state *fx = &fps->regs.fxsave;
	const struct kvm_fpu *fpu = data;

	memcpy(fx->st_space, fpu->fpr, sizeof(fpu->fpr));
	fx->cwd = fpu->fcw;
	fx->swd = fpu->fsw;
	fx->twd = fpu->ftwx;
	fx->fop = fpu->last_opcode;
	fx->rip = fpu->last_ip;
	fx->rdp = fpu->last_dp;
	memcpy(fx->xmm_space, fpu->xmm, sizeof(fpu->xmm));
	/* A reserved MXCSR bit would make the kernel's XRSTOR fault. */
	fx->mxcsr = fpu->mxcsr & mxcsr_feature_mask;
	if (boot_cpu_has(X86_FEATURE_XSAVE))
		fps->regs.xsave.header.xfeatures |= XFEATURE_MASK_FPSSE;
	return 0;
}

static void xsave_get(struct vcpu *v, void *buf, unsigned int size)
{
	fpu_copy_guest_fpstate_to_uabi(&v->cpu.fpu, buf, size,
				       v->cpu.guest_xcr0_allowed | XFEATURE_MASK_FPSSE,
				       v->cpu.pkru);
}

static long get_xsave(struct virt_vcpu *vv, void *data, unsigned long raw)
{
	xsave_get(to_vcpu(vv), data, sizeof(struct kvm_xsave));
	return 0;
}

static unsigned int xsave2_size(const struct vcpu *v)
{
	return max_t(unsigned int, v->cpu.fpu.uabi_size, sizeof(struct kvm_xsave));
}

unsigned int fpu_xsave2_size(void)
{
	return max_t(unsigned int, cpuid_xsave_size(cpuid_host_xcr0, false, cpuid_host_components),
		     sizeof(struct kvm_xsave));
}

static long get_xsave2(struct virt_vcpu *vv, void *data, unsigned long raw)
{
	struct vcpu *v = to_vcpu(vv);
	unsigned int size = xsave2_size(v);
	long ret = 0;
	void *buf;

	buf = kvzalloc(size, GFP_KERNEL_ACCOUNT);
	if (!buf)
		return -ENOMEM;
	xsave_get(v, buf, size);
	if (copy_to_user((void __user *)raw, buf, size))
		ret = -EFAULT;
	kvfree(buf);
	return ret;
}

static long set_xsave(struct virt_vcpu *vv, void *data, unsigned long raw)
{
	struct vcpu *v = to_vcpu(vv);
	void *buf;
	long ret;

	/* The buffer is as long as KVM_GET_XSAVE2's. */
	buf = vmemdup_user((void __user *)raw, xsave2_size(v));
	if (IS_ERR(buf))
		return PTR_ERR(buf);
	ret = fpu_copy_uabi_to_guest_fpstate(&v->cpu.fpu, buf,
					     cpuid_host_xcr0 | XFEATURE_MASK_FPSSE, &v->cpu.pkru);
	kvfree(buf);
	return ret;
}

static long get_xcrs(struct virt_vcpu *vv, void *data, unsigned long raw)
{
	struct kvm_xcrs *xcrs = data;

	if (!boot_cpu_has(X86_FEATURE_XSAVE))
		return 0;
	xcrs->nr_xcrs = 1;
	xcrs->xcrs[0].xcr = XCR_XFEATURE_ENABLED_MASK;
	xcrs->xcrs[0].value = to_vcpu(vv)->cpu.xcr0;
	return 0;
}

static long set_xcrs(struct virt_vcpu *vv, void *data, unsigned long raw)
{
	const struct kvm_xcrs *xcrs = data;
	struct vcpu *v = to_vcpu(vv);
	struct cr_limits l = { .xcr0_allowed = v->cpu.guest_xcr0_allowed };
	unsigned int i;

	/* Without XSAVE there is no register, and none is what KVM_GET_XCRS gave. */
	if (xcrs->nr_xcrs > (boot_cpu_has(X86_FEATURE_XSAVE) ? KVM_MAX_XCRS : 0) || xcrs->flags)
		return -EINVAL;
	for (i = 0; i < xcrs->nr_xcrs; i++) {
		if (xcrs->xcrs[i].xcr != XCR_XFEATURE_ENABLED_MASK)
			continue;
		/* 1 is the value after RESET, with XSAVE offered or not. */
		if (xcrs->xcrs[i].value != XCR0_FP && !xcr0_valid(&l, xcrs->xcrs[i].value))
			return -EINVAL;
		cr_apply_xcr0(v, xcrs->xcrs[i].value);
		break;
	}
	return 0;
}

const struct ioctl_row fpu_vcpu_ioctls[] = {
	{ KVM_GET_FPU,    0,         .vcpu = get_fpu },
	{ KVM_SET_FPU,    0,         .vcpu = set_fpu },
	{ KVM_GET_XSAVE,  0,         .vcpu = get_xsave },
	{ KVM_GET_XSAVE2, IOCTL_RAW, .vcpu = get_xsave2 },
	{ KVM_SET_XSAVE,  IOCTL_RAW, .vcpu = set_xsave },
	{ KVM_GET_XCRS,   0,         .vcpu = get_xcrs },
	{ KVM_SET_XCRS,   IOCTL_LOAD, .vcpu = set_xcrs },
};
const unsigned int fpu_nr_vcpu_ioctls = ARRAY_SIZE(fpu_vcpu_ioctls);

static int check_system_attr(const struct kvm_device_attr *attr)
{
	if (attr->flags)
		return -EINVAL;
	return attr->group == KVM_X86_GRP_SYSTEM && attr->attr == KVM_X86_XCOMP_GUEST_SUPP ? 0 : -ENXIO;
}

static long has_system_attr(void *data, unsigned long raw)
{
	return check_system_attr(data);
}

static long get_system_attr(void *data, unsigned long raw)
{
	const struct kvm_device_attr *attr = data;
	int ret = check_system_attr(attr);

	return ret ? ret : put_user(cpuid_host_xcr0, (u64 __user *)(unsigned long)attr->addr);
}

const struct ioctl_row fpu_dev_ioctls[] = {
	{ KVM_GET_DEVICE_ATTR, 0, .dev = get_system_attr },
	{ KVM_HAS_DEVICE_ATTR, 0, .dev = has_system_attr },
};
const unsigned int fpu_nr_dev_ioctls = ARRAY_SIZE(fpu_dev_ioctls);
