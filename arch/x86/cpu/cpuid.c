// SPDX-License-Identifier: GPL-2.0
/*
 * CPUID of a vCPU: KVM_SET_CPUID(2), KVM_GET_CPUID2, the instruction, and the features that follow
 * from the entries.
 *
 * A vCPU without any entry has all features the host can offer: small VMMs never set any. A feature
 * the host cannot offer is never there, whatever userspace's entries say. After the first KVM_RUN
 * entries may be set again only unchanged.
 */
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "../backend.h"
#include "../strata.h"
#include "../trace_kvm.h"
#include "rows.h"

/* Where a feature's bit is; several rows for one feature are alternatives. */
struct feature_bit {
	u8 feature;
	u8 index;
	u8 reg;
	u8 bit;
	u32 leaf;
};

static const struct feature_bit feature_bits[] = {
	{ GUEST_VME,			0, LEAF_EDX, 1,  0x1 },
	{ GUEST_DE,			0, LEAF_EDX, 2,  0x1 },
	{ GUEST_APIC,			0, LEAF_EDX, 9,  0x1 },
	{ GUEST_MTRR,			0, LEAF_EDX, 12, 0x1 },
	{ GUEST_PAT,			0, LEAF_EDX, 16, 0x1 },
	{ GUEST_MWAIT,			0, LEAF_ECX, 3,  0x1 },
	{ GUEST_VMX,			0, LEAF_ECX, 5,  0x1 },
	{ GUEST_PDCM,			0, LEAF_ECX, 15, 0x1 },
	{ GUEST_PCID,			0, LEAF_ECX, 17, 0x1 },
	{ GUEST_X2APIC,			0, LEAF_ECX, 21, 0x1 },
	{ GUEST_TSC_DEADLINE,		0, LEAF_ECX, 24, 0x1 },
	{ GUEST_XSAVE,			0, LEAF_ECX, 26, 0x1 },
	{ GUEST_FSGSBASE,		0, LEAF_EBX, 0,  0x7 },
	{ GUEST_TSC_ADJUST,		0, LEAF_EBX, 1,  0x7 },
	{ GUEST_SMEP,			0, LEAF_EBX, 7,  0x7 },
	{ GUEST_INVPCID,		0, LEAF_EBX, 10, 0x7 },
	{ GUEST_RTM,			0, LEAF_EBX, 11, 0x7 },
	{ GUEST_SMAP,			0, LEAF_EBX, 20, 0x7 },
	{ GUEST_UMIP,			0, LEAF_ECX, 2,  0x7 },
	{ GUEST_PKU,			0, LEAF_ECX, 3,  0x7 },
	{ GUEST_LA57,			0, LEAF_ECX, 16, 0x7 },
	{ GUEST_RDPID,			0, LEAF_ECX, 22, 0x7 },
	{ GUEST_TSC_AUX,		0, LEAF_ECX, 22, 0x7 },
	{ GUEST_SPEC_CTRL,		0, LEAF_EDX, 26, 0x7 },
	{ GUEST_PRED_CMD,		0, LEAF_EDX, 26, 0x7 },
	{ GUEST_ANY_SPEC_CTRL,		0, LEAF_EDX, 26, 0x7 },
	{ GUEST_STIBP,			0, LEAF_EDX, 27, 0x7 },
	{ GUEST_ANY_SPEC_CTRL,		0, LEAF_EDX, 27, 0x7 },
	{ GUEST_FLUSH_L1D,		0, LEAF_EDX, 28, 0x7 },
	{ GUEST_ARCH_CAPABILITIES,	0, LEAF_EDX, 29, 0x7 },
	{ GUEST_SSBD,			0, LEAF_EDX, 31, 0x7 },
	{ GUEST_ANY_SPEC_CTRL,		0, LEAF_EDX, 31, 0x7 },
	{ GUEST_LAM,			1, LEAF_EAX, 26, 0x7 },
	{ GUEST_PSFD,			2, LEAF_EDX, 0,  0x7 },
	{ GUEST_IPRED_CTRL,		2, LEAF_EDX, 1,  0x7 },
	{ GUEST_RRSBA_CTRL,		2, LEAF_EDX, 2,  0x7 },
	{ GUEST_DDPD_U,			2, LEAF_EDX, 3,  0x7 },
	{ GUEST_BHI_CTRL,		2, LEAF_EDX, 4,  0x7 },
	{ GUEST_XSAVES,			1, LEAF_EAX, 3,  0xd },
	{ GUEST_SVM,			0, LEAF_ECX, 2,  0x80000001 },
	{ GUEST_SYSCALL,		0, LEAF_EDX, 11, 0x80000001 },
	{ GUEST_NX,			0, LEAF_EDX, 20, 0x80000001 },
	{ GUEST_FXSR_OPT,		0, LEAF_EDX, 25, 0x80000001 },
	{ GUEST_GBPAGES,		0, LEAF_EDX, 26, 0x80000001 },
	{ GUEST_RDTSCP,			0, LEAF_EDX, 27, 0x80000001 },
	{ GUEST_TSC_AUX,		0, LEAF_EDX, 27, 0x80000001 },
	{ GUEST_LONG_MODE,		0, LEAF_EDX, 29, 0x80000001 },
	{ GUEST_PRED_CMD,		0, LEAF_EBX, 12, 0x80000008 },
	{ GUEST_SPEC_CTRL,		0, LEAF_EBX, 14, 0x80000008 },
	{ GUEST_ANY_SPEC_CTRL,		0, LEAF_EBX, 14, 0x80000008 },
	{ GUEST_STIBP,			0, LEAF_EBX, 15, 0x80000008 },
	{ GUEST_ANY_SPEC_CTRL,		0, LEAF_EBX, 15, 0x80000008 },
	{ GUEST_SSBD,			0, LEAF_EBX, 24, 0x80000008 },
	{ GUEST_ANY_SPEC_CTRL,		0, LEAF_EBX, 24, 0x80000008 },
	{ GUEST_VIRT_SSBD,		0, LEAF_EBX, 25, 0x80000008 },
	{ GUEST_PSFD,			0, LEAF_EBX, 28, 0x80000008 },
	{ GUEST_NRIPS,			0, LEAF_EDX, 3,  0x8000000a },
	{ GUEST_VMCB_CLEAN,		0, LEAF_EDX, 5,  0x8000000a },
	{ GUEST_FLUSH_BY_ASID,		0, LEAF_EDX, 6,  0x8000000a },
	{ GUEST_PAUSE_FILTER,		0, LEAF_EDX, 10, 0x8000000a },
	{ GUEST_PAUSE_THRESHOLD,	0, LEAF_EDX, 12, 0x8000000a },
	{ GUEST_VGIF,			0, LEAF_EDX, 16, 0x8000000a },
	{ GUEST_AUTOIBRS,		0, LEAF_EAX, 8,  0x80000021 },
	{ GUEST_SBPB,			0, LEAF_EAX, 27, 0x80000021 },
};

static __always_inline void put(struct vcpu *v, u32 eax, u32 ebx, u32 ecx, u32 edx)
{
	const u32 regs = BIT(REG_RAX) | BIT(REG_RBX) | BIT(REG_RCX) | BIT(REG_RDX);

	v->regs[REG_RAX] = eax;
	v->regs[REG_RBX] = ebx;
	v->regs[REG_RCX] = ecx;
	v->regs[REG_RDX] = edx;
	v->regs_avail |= regs;
	v->regs_dirty |= regs;
}

static noinline void execute_missing(struct vcpu *v, u32 leaf, u32 index)
{
	struct cpuid_regs4 out;

	cpuid_table_execute(&v->cpu.cpuid_table, leaf, index, &out);
	put(v, out.r[LEAF_EAX], out.r[LEAF_EBX], out.r[LEAF_ECX], out.r[LEAF_EDX]);
}

static __always_inline void execute(struct vcpu *v)
{
	u32 leaf = vcpu_reg(v, REG_RAX), index = vcpu_reg(v, REG_RCX);
	const struct kvm_cpuid_entry2 *e;

	if (unlikely(leaf == 0xd))
		xcr0_sync(v);
	e = cpuid_table_find(&v->cpu.cpuid_table, leaf, index);
	if (likely(e))
		put(v, e->eax, e->ebx, e->ecx, e->edx);
	else
		execute_missing(v, leaf, index);
}

static noinline void execute_traced(struct vcpu *v)
{
	u32 leaf = vcpu_reg(v, REG_RAX), index = vcpu_reg(v, REG_RCX);

	execute(v);
	trace_kvm_cpuid(leaf, index, v->regs);
}

void cpuid_execute(struct vcpu *v)
{
	if (trace_kvm_cpuid_enabled())
		execute_traced(v);
	else
		execute(v);
}

bool cpuid_lookup(struct vcpu *v, u32 leaf, u32 index, u32 *eax, u32 *ebx, u32 *ecx, u32 *edx)
{
	struct cpuid_regs4 out;
	bool exact;

	exact = cpuid_table_execute(&v->cpu.cpuid_table, leaf, index, &out);
	*eax = out.r[LEAF_EAX];
	*ebx = out.r[LEAF_EBX];
	*ecx = out.r[LEAF_ECX];
	*edx = out.r[LEAF_EDX];
	return exact;
}

static u32 entry_reg(const struct cpuid_table *t, u32 leaf, u32 index, enum cpuid_reg reg)
{
	struct kvm_cpuid_entry2 *e = cpuid_table_find(t, leaf, index);

	return e ? *cpuid_entry_reg(e, reg) : 0;
}

static u64 collect_features(const struct cpuid_table *guest)
{
	const struct feature_bit *f;
	u64 features = 0;
	u32 reg;

	for (f = feature_bits; f < feature_bits + ARRAY_SIZE(feature_bits); f++) {
		reg = entry_reg(guest, f->leaf, f->index, f->reg);
		/*
		 * The TSC-deadline timer is the local APIC's here, and is not in the table as not
		 * every VM has one.
		 */
		if (f->feature != GUEST_TSC_DEADLINE)
			reg &= cpuid_host_supported(f->leaf, f->index, f->reg);
		if (reg & BIT(f->bit))
			features |= BIT_ULL(f->feature);
	}
	if (guest->nr && !guest->redirect && cpuid_table_find(guest, 0, 0))
		features |= BIT_ULL(GUEST_AMD);
	return features;
}

/* CR4 bits that come with a feature */
static const struct {
	u8 feature;
	unsigned long bits;
} cr4_features[] = {
	{ GUEST_VME,		CR4_VME | BIT(1) },
	{ GUEST_DE,		CR4_DE },
	{ GUEST_UMIP,		CR4_UMIP },
	{ GUEST_LA57,		CR4_LA57 },
	{ GUEST_VMX,		CR4_VMXE },
	{ GUEST_FSGSBASE,	CR4_FSGSBASE },
	{ GUEST_PCID,		CR4_PCIDE },
	{ GUEST_XSAVE,		CR4_OSXSAVE },
	{ GUEST_SMEP,		CR4_SMEP },
	{ GUEST_SMAP,		CR4_SMAP },
	{ GUEST_PKU,		CR4_PKE },
};

/* EFER and SPEC_CTRL bits that come with a feature */
static const struct {
	u8 feature;
	u64 efer, spec_ctrl;
} msr_features[] = {
	{ GUEST_SYSCALL,	BIT_ULL(0) },
	{ GUEST_LONG_MODE,	BIT_ULL(0) | BIT_ULL(8) | BIT_ULL(10) },
	{ GUEST_NX,		BIT_ULL(11) },
	{ GUEST_SVM,		BIT_ULL(12) },
	{ GUEST_FXSR_OPT,	BIT_ULL(14) },
	{ GUEST_AUTOIBRS,	BIT_ULL(21) },
	{ GUEST_SPEC_CTRL,	.spec_ctrl = BIT_ULL(0) },
	{ GUEST_STIBP,		.spec_ctrl = BIT_ULL(1) },
	{ GUEST_SSBD,		.spec_ctrl = BIT_ULL(2) },
	{ GUEST_IPRED_CTRL,	.spec_ctrl = BIT_ULL(3) | BIT_ULL(4) },
	{ GUEST_RRSBA_CTRL,	.spec_ctrl = BIT_ULL(5) | BIT_ULL(6) },
	{ GUEST_PSFD,		.spec_ctrl = BIT_ULL(7) },
	{ GUEST_DDPD_U,		.spec_ctrl = BIT_ULL(8) },
	{ GUEST_BHI_CTRL,	.spec_ctrl = BIT_ULL(10) },
};

static u64 efer_bits(u64 features)
{
	unsigned int i;
	u64 efer = 0;

	for (i = 0; i < ARRAY_SIZE(msr_features); i++)
		if (features & BIT_ULL(msr_features[i].feature))
			efer |= msr_features[i].efer;
	return efer;
}

/*
 * What the host's table says, and the EFER bits that follow; 0 until asked, and when the table
 * changed (at load).
 */
static u64 host_features;
static u64 host_efer;

static u64 cached_host_features(void)
{
	if (unlikely(!host_features)) {
		host_features = collect_features(cpuid_host_table());
		host_efer = efer_bits(host_features);
	}
	return host_features;
}

void cpuid_host_changed(void)
{
	host_features = 0;
}

bool cpuid_host_has(enum guest_feature feature)
{
	return cached_host_features() & BIT_ULL(feature);
}

u64 cpuid_host_efer(void)
{
	if (unlikely(!host_features))
		cached_host_features();
	return host_efer;
}

unsigned long cpuid_host_cr4_reserved(void)
{
	unsigned long reserved = ~CR4_BASE;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(cr4_features); i++)
		if (cpuid_host_has(cr4_features[i].feature) ||
		    (cr4_features[i].feature == GUEST_VME && (cpuid_edx(1) & BIT(1))))
			reserved &= ~cr4_features[i].bits;
	return reserved;
}

static void derive_limits(struct vcpu *v, const struct cpuid_table *t)
{
	struct vcpu_cpu *c = &v->cpu;
	unsigned int i;

	c->features = collect_features(t);
	c->cr4_reserved = ~CR4_BASE;
	for (i = 0; i < ARRAY_SIZE(cr4_features); i++)
		if (guest_has(v, cr4_features[i].feature))
			c->cr4_reserved &= ~cr4_features[i].bits;
	/* What the module does not offer is not to be had, whatever userspace shows its guest. */
	c->efer_allowed = efer_bits(c->features) & cpuid_host_efer();
	c->spec_ctrl_allowed = 0;
	for (i = 0; i < ARRAY_SIZE(msr_features); i++)
		if (guest_has(v, msr_features[i].feature))
			c->spec_ctrl_allowed |= msr_features[i].spec_ctrl;

	c->maxphyaddr = entry_reg(t, 0x80000008, 0, LEAF_EAX) & 0xff;
	if (entry_reg(t, 0x80000000, 0, LEAF_EAX) < 0x80000008 || !c->maxphyaddr)
		c->maxphyaddr = 36;
	c->maxphyaddr = clamp_t(u8, c->maxphyaddr, 32, 52);

	c->guest_xcr0_allowed = 0;
	c->guest_xss_allowed = 0;
	if (guest_has(v, GUEST_XSAVE))
		c->guest_xcr0_allowed =
			cpuid_host_xcr0 & (entry_reg(t, 0xd, 0, LEAF_EAX) |
					   (u64)entry_reg(t, 0xd, 0, LEAF_EDX) << 32);
	if (guest_has(v, GUEST_XSAVES))
		c->guest_xss_allowed = cpuid_host_xss & (entry_reg(t, 0xd, 1, LEAF_ECX) |
							 (u64)entry_reg(t, 0xd, 1, LEAF_EDX) << 32);
}

static struct cpuid_runtime runtime_state(struct vcpu *v)
{
	unsigned long cr4 = vcpu_cr4(v);

	return (struct cpuid_runtime) {
		.osxsave = cr4 & CR4_OSXSAVE,
		.ospke = cr4 & CR4_PKE,
		.apic = v->apic_base & BIT(11),
		.xcr0 = v->cpu.xcr0,
		.xss = v->cpu.xss,
	};
}

void cpuid_runtime_changed(struct vcpu *v)
{
	struct cpuid_runtime rt = runtime_state(v);

	cpuid_table_update(&v->cpu.cpuid_table, &rt, cpuid_host_components);
}

/* With no entries the guest has what the host offers, though the instruction returns zeros. */
void cpuid_vcpu_init(struct vcpu *v)
{
	derive_limits(v, cpuid_host_table());
}

void cpuid_vcpu_destroy(struct vcpu *v)
{
	kvfree(v->cpu.cpuid);
	v->cpu.cpuid = NULL;
}

static int check_entries(const struct cpuid_table *t)
{
	u32 virt_bits = entry_reg(t, 0x80000008, 0, LEAF_EAX) >> 8 & 0xff;

	/* Canonical addresses have 48 or 57 bits; nothing else can be honoured. */
	return virt_bits == 48 || virt_bits == 57 || virt_bits == 0 ? 0 : -EINVAL;
}

/* Takes @entry over on success. */
static long set_entries(struct vcpu *v, struct kvm_cpuid_entry2 *entry, unsigned int nr)
{
	struct vcpu_cpu *c = &v->cpu;
	struct cpuid_runtime rt = runtime_state(v);
	struct cpuid_table *t;
	u32 pv_features;
	long ret;

	t = kzalloc(sizeof(*t), GFP_KERNEL_ACCOUNT);
	if (!t)
		return -ENOMEM;
	t->entry = entry;
	t->nr = nr;
	cpuid_table_build(t);
	cpuid_table_update(t, &rt, cpuid_host_components);
	pv_features = pv_cpuid_features(v, t);

	ret = check_entries(t);
	if (ret)
		goto out;
	if (c->has_run) {
		ret = -EINVAL;
		if (nr == c->nr_cpuid && !memcmp(entry, c->cpuid, array_size(nr, sizeof(*entry)))) {
			kvfree(entry);
			ret = 0;
		}
		goto out;
	}

	kvfree(c->cpuid);
	c->cpuid = entry;
	c->nr_cpuid = nr;
	c->cpuid_table = *t;
	v->pv.features = pv_features;
	derive_limits(v, nr ? &c->cpuid_table : cpuid_host_table());
	if (v->apic)
		apic_configure(v);
	xcr_changed(v);
	backend_call(update_cpuid)(v);
	backend_call(update_msr_access)(v);
out:
	kfree(t);
	return ret;
}

static long set_cpuid2(struct virt_vcpu *vv, void *data, unsigned long raw)
{
	struct kvm_cpuid2 __user *user = (void __user *)raw;
	struct kvm_cpuid_entry2 *entry = NULL;
	struct kvm_cpuid2 head;
	long ret;

	if (copy_from_user(&head, user, sizeof(head)))
		return -EFAULT;
	if (head.nent > CPUID_MAX_ENTRIES)
		return -E2BIG;
	if (head.nent) {
		entry = vmemdup_user(user->entries, array_size(head.nent, sizeof(*entry)));
		if (IS_ERR(entry))
			return PTR_ERR(entry);
	}
	ret = set_entries(to_vcpu(vv), entry, head.nent);
	if (ret)
		kvfree(entry);
	return ret;
}

static long set_cpuid(struct virt_vcpu *vv, void *data, unsigned long raw)
{
	struct kvm_cpuid __user *user = (void __user *)raw;
	struct kvm_cpuid_entry *old = NULL;
	struct kvm_cpuid_entry2 *entry = NULL;
	struct kvm_cpuid head;
	unsigned int i;
	long ret;

	if (copy_from_user(&head, user, sizeof(head)))
		return -EFAULT;
	if (head.nent > CPUID_MAX_ENTRIES)
		return -E2BIG;
	if (head.nent) {
		old = vmemdup_user(user->entries, array_size(head.nent, sizeof(*old)));
		if (IS_ERR(old))
			return PTR_ERR(old);
		entry = kvcalloc(head.nent, sizeof(*entry), GFP_KERNEL_ACCOUNT);
		if (!entry) {
			kvfree(old);
			return -ENOMEM;
		}
	}
	for (i = 0; i < head.nent; i++) {
		entry[i].function = old[i].function;
		entry[i].eax = old[i].eax;
		entry[i].ebx = old[i].ebx;
		entry[i].ecx = old[i].ecx;
		entry[i].edx = old[i].edx;
	}
	kvfree(old);
	ret = set_entries(to_vcpu(vv), entry, head.nent);
	if (ret)
		kvfree(entry);
	return ret;
}

static long get_cpuid2(struct virt_vcpu *vv, void *data, unsigned long raw)
{
	struct kvm_cpuid2 __user *user = (void __user *)raw;
	struct vcpu_cpu *c = &to_vcpu(vv)->cpu;
	struct kvm_cpuid2 head;

	if (copy_from_user(&head, user, sizeof(head)))
		return -EFAULT;
	if (head.nent < c->nr_cpuid)
		return -E2BIG;
	if (c->nr_cpuid &&
	    copy_to_user(user->entries, c->cpuid, array_size(c->nr_cpuid, sizeof(*c->cpuid))))
		return -EFAULT;
	return put_user(c->nr_cpuid, &user->nent);
}

const struct ioctl_row cpuid_vcpu_ioctls[] = {
	{ KVM_SET_CPUID,  IOCTL_RAW | IOCTL_LOAD | IOCTL_SRCU, .vcpu = set_cpuid },
	{ KVM_SET_CPUID2, IOCTL_RAW | IOCTL_LOAD | IOCTL_SRCU, .vcpu = set_cpuid2 },
	{ KVM_GET_CPUID2, IOCTL_RAW,                           .vcpu = get_cpuid2 },
};
const unsigned int cpuid_nr_vcpu_ioctls = ARRAY_SIZE(cpuid_vcpu_ioctls);
