"""Forms that change the split of traffic, and the page that asks before it is done."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any

from django import forms
from django.conf import settings
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, QueryDict
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from typing_extensions import override

from gateway import traffic
from gateway.admin.forms import RowForm
from gateway.admin.theme import NumberInput, Select
from gateway.admin.version_facts import versions
from gateway.models import VersionWeight
from gateway.models.traffic import MAX_PERCENT

if TYPE_CHECKING:
    from django.contrib.admin import ModelAdmin

TEMPLATE = "gateway/change_traffic.html"
BORNE = "A label that deployments or live instances bear."
ALL_HAVE_ONE = (
    "Every version has a weight already. A new one is there as soon as a deployment bears "
    "its label."
)


class WeightForm(RowForm[VersionWeight]):
    """The weight of a version, and whether its instances drain.

    A new row is of a version that something bears already.
    """

    class Meta:
        model = VersionWeight
        fields = ("version", "weight", "is_draining")
        help_texts = {
            "weight": "Percent of the requests to each model that has deployments of "
            "this version. The others get what is left of 100: the active version "
            "first. 0: none, and instances of this version drain.",
        }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Offer the versions that have no row yet."""
        super().__init__(*args, **kwargs)
        if "version" in self.fields:
            known = [each.version for each in versions().values() if each.row is None]
            self.fields["version"] = forms.ChoiceField(
                choices=[(version, version) for version in known],
                widget=Select(),
                help_text=BORNE if known else ALL_HAVE_ONE,
            )


class TrafficForm(forms.Form):
    """A change of the split that is confirmed on a page of its own."""

    title = ""
    button = ""
    about: tuple[str, ...] = ()

    @abstractmethod
    def apply(self, reason: str) -> traffic.Standing:
        """Do it, once the form is valid.

        Raises:
            TrafficRefused: It cannot be done.

        """


class PromotionForm(TrafficForm):
    """Promote a version."""

    button = "Promote"

    step_percent = forms.IntegerField(
        label="Step",
        required=False,
        min_value=1,
        max_value=MAX_PERCENT,
        widget=NumberInput(),
    )

    def __init__(self, version: str, *args: Any) -> None:
        """`version` is the one to promote."""
        super().__init__(*args)
        self.version = version
        self.title = f"Promote {version}"
        self.about = (
            f"{version} becomes the active version, with all the traffic.",
            f"Now: {shown_weights(traffic.standing())}",
        )
        self.fields["step_percent"].help_text = (
            "Percentage points that it gets at once, and again every "
            f"{settings.AILB_PROMOTION_STEP_S:g} s until it has all. Empty: all at once."
        )

    @override
    def apply(self, reason: str) -> traffic.Standing:
        """Promote it, or begin to."""
        step = self.cleaned_data["step_percent"]
        if step is None:
            return traffic.promote(self.version, reason=reason)
        return traffic.begin_promotion(self.version, step)


class RollbackForm(TrafficForm):
    """Roll back."""

    title = button = "Roll back"

    target = forms.ChoiceField(label="To", required=False, widget=Select())

    def __init__(self, *args: Any) -> None:
        """Offer every version that something bears."""
        super().__init__(*args)
        standing = traffic.standing()
        active, previous = standing.active_version, standing.previous_version
        self.about = (
            f"{active} is active; before it, {previous or 'none'} was.",
            f"Now: {shown_weights(standing)}",
        )
        target: Any = self.fields["target"]
        target.choices = [
            (
                "",
                "The active version, if it shares its traffic; else the one before it",
            ),
            *(
                (each.version, each.version)
                for each in versions().values()
                if each.deployments or each.instances
            ),
        ]
        target.help_text = "It becomes the active version, with all the traffic."

    @override
    def apply(self, reason: str) -> traffic.Standing:
        """Give the chosen version all traffic."""
        return traffic.roll_back(self.cleaned_data["target"] or None, reason=reason)


class CancelForm(TrafficForm):
    """Cancel the promotion that runs."""

    title = "Cancel the promotion"
    button = "Cancel the promotion"
    about = ("The weights stay as they are now.",)

    @override
    def apply(self, reason: str) -> traffic.Standing:
        """Cancel it."""
        return traffic.cancel_promotion(reason=reason)


def traffic_page(
    pages: ModelAdmin[Any],
    request: HttpRequest,
    form: TrafficForm,
    *,
    permission: str,
    back_to: str,
) -> HttpResponse:
    """Ask whether the split is to be changed; on the yes, change it and go back.

    Raises:
        PermissionDenied: The user has not got `permission`.

    """
    if not request.user.has_perm(permission):
        raise PermissionDenied
    if form.is_bound and form.is_valid():
        try:
            standing = form.apply(by_whom(request))
        except traffic.TrafficRefused as refused:
            form.add_error(None, refused.message)
        else:
            pages.message_user(request, shown_weights(standing), messages.SUCCESS)
            return redirect(back_to)
    context = {
        **pages.admin_site.each_context(request),
        "title": form.title,
        "opts": pages.opts,
        "form": form,
        "back_to": back_to,
    }
    return TemplateResponse(request, TEMPLATE, context)


def posted(request: HttpRequest) -> QueryDict | None:
    """Give what was sent with the yes; None while it is still asked."""
    return request.POST if request.method == "POST" else None


def by_whom(request: HttpRequest) -> str:
    """Give the reason that the history keeps of a change made here."""
    return f"In the admin, by {request.user.get_username()}."


def shown_weights(standing: traffic.Standing) -> str:
    """Write who has how much."""
    shares = [f"{name} {weight} %" for name, weight in standing.weights.items()]
    return f"{', '.join(shares)}."
