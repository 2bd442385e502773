/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Guest FPU and extended state: kept by the kernel's own guest-fpu code, live in the CPU's
 * registers during KVM_RUN.
 */
#ifndef STRATA_FPU_H
#define STRATA_FPU_H

#include <linux/thread_info.h>
#include <linux/types.h>
#include <asm/fpu/api.h>

struct vcpu;

int fpu_vcpu_init(struct vcpu *v);
void fpu_vcpu_destroy(struct vcpu *v);
void fpu_reset(struct vcpu *v, bool init);
void fpu_host_init(void);

/*
 * Directly before an entry, interrupts off: registers may have been lost to a preemption or to
 * kernel FPU use. switch_fpu_return() where TIF_NEED_FPU_LOAD says so.
 */
static inline void fpu_prepare_entry(void)
{
	if (unlikely(test_thread_flag(TIF_NEED_FPU_LOAD)))
		switch_fpu_return();
}

/*
 * XCR0, XSS and PKRU around an entry, interrupts off. Only needed while cpu.xcr_switch is set,
 * which xcr_changed() keeps up to date with CR4, XCR0 and XSS.
 */
void xcr_load_guest(struct vcpu *v);
void xcr_load_host(struct vcpu *v);
void xcr_changed(struct vcpu *v);

/*
 * QEMU's TCG does not intercept XSETBV. What the guest set is found here: when it asks for the
 * sizes in CPUID leaf 0xD, and by xcr_load_host().
 */
void xcr0_sync(struct vcpu *v);

/**
 * fpu_read_vector() - read a guest XMM or YMM register for the emulator
 * @reg: 0..15
 * @buf: 16 or 32 bytes
 * @len: 16 (XMM) or 32 (YMM)
 *
 * Only within KVM_RUN, interrupts on.
 */
void fpu_read_vector(unsigned int reg, void *buf, unsigned int len);
/* The counterpart; 16 bytes leave the rest of the register as it is. */
void fpu_write_vector(unsigned int reg, const void *buf, unsigned int len);
/* MMX registers 0..7, 8 bytes; the caller has dealt with #MF and CR0. */
void fpu_read_mmx(unsigned int reg, void *buf);
void fpu_write_mmx(unsigned int reg, const void *buf);

/* Size of KVM_GET_XSAVE2's buffer: KVM_CHECK_EXTENSION(KVM_CAP_XSAVE2) */
unsigned int fpu_xsave2_size(void);


#endif
